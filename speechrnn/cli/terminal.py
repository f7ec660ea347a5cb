"""What the verbs share: where results go, which faults are named, and when a bar is shown."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, TextIO

from speechrnn.cli.options import Parser
from speechrnn.faults import Fault, Faults
from speechrnn.files import replacing

if TYPE_CHECKING:
    import keras

    from speechrnn.recognizer import SpeechRecognizer


def add_output(parser: Parser) -> None:
    """`--out` and `--overwrite`."""
    parser.add_argument("--out", metavar="FILE", help="write the results to this file instead of standard output")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


@contextmanager
def output(path: str | None, *, overwrite: bool) -> Iterator[TextIO]:
    """Standard output, or a file that is there whole when the block is done.

    The file is opened at once, so an output that cannot be written is known before the work begins. After Ctrl-C the
    file keeps the results there are.
    """
    if path is None:
        yield sys.stdout
        return
    interrupted = False
    try:
        with ExitStack() as stack:
            file = _opened(path, overwrite, stack)
            text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", write_through=True)
            try:
                yield text
            except KeyboardInterrupt:
                interrupted = True
            text.detach()
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise  # not of this file
        raise _unwritable(path, error) from error
    if interrupted:
        raise KeyboardInterrupt


def _opened(path: str, overwrite: bool, stack: ExitStack) -> IO[bytes]:
    try:
        # A pipe or a device is written to; a file must not take its place.
        special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
        return stack.enter_context(open(path, "wb") if special else replacing(path, overwrite=overwrite))
    except OSError as error:
        if error.errno is None:  # our own: it says what to do
            raise
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be written ({error.strerror}). Make room, or choose another --out.")


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in readable UTF-8; a file name that is not UTF-8 is escaped, since JSON could not hold its bytes."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def name_fault(fault: Fault) -> None:
    """One line on standard error."""
    print(f"speechrnn: {' '.join(str(fault).split())}", file=sys.stderr)


def verdict(faults: Faults, total: int, *, noun: str, verb: str = "failed") -> int:
    """Sum faults up on standard error, if there are any; gives the exit code."""
    if not len(faults):
        return 0
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in faults.counts().items())
    print(f"speechrnn: {len(faults):,} of {total:,} {noun} {verb}: {kinds}.", file=sys.stderr)
    return 1


@contextmanager
def progress(total: int | None, what: str, *, to_terminal: bool = False) -> Iterator[Callable[[object], None]]:
    """A bar on standard error, where that is a terminal.

    The function it gives is called with the number of things done since the last call, or with the one thing done.

    Args:
        total: Number of things; None where it is not known.
        what: Said beside the bar.
        to_terminal: Results go to the terminal meanwhile, so a bar would run into them.
    """
    if not sys.stderr.isatty() or (to_terminal and sys.stdout.isatty()):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Standard output is left alone: rich would send it to standard error.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done if isinstance(done, int) else 1)


def load_model(path: str | None) -> SpeechRecognizer:
    """The recogniser in a file, or the one that comes with the package.

    Raises:
        FileNotFoundError: There is no such file; said before TensorFlow, which takes seconds, is started.
    """
    from speechrnn.transcribe import DEFAULT_MODEL

    if path is None and not DEFAULT_MODEL.exists():
        raise FileNotFoundError(f"{DEFAULT_MODEL}: this installation has no model of its own. Give one with --model.")
    if path is not None and not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such model file.")
    start_tensorflow()
    from speechrnn import recognizer

    return recognizer.load(DEFAULT_MODEL if path is None else path)


def load_any_model(path: str) -> keras.Model:
    """Any Keras model in a file.

    Raises:
        FileNotFoundError: There is no such file; said before TensorFlow, which takes seconds, is started.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such model file.")
    start_tensorflow()
    from speechrnn import recognizer

    return recognizer.load_any(path)


def start_tensorflow() -> None:
    """Import TensorFlow without the notes that it writes to standard error; a failure shows them.

    Someone who sets TF_CPP_MIN_LOG_LEVEL gets what they ask for.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:  # its first notes heed no level, so the descriptor is turned away
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
