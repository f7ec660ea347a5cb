"""Shared by the verbs: output files, messages about faults, progress bars, and loading of models."""

from __future__ import annotations

import datetime
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO

from speechrnn.cli.codes import DONE, SOME_FAILED
from speechrnn.faults import Fault, Faults
from speechrnn.files import as_json as as_json
from speechrnn.files import replacing

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession


def standard_input() -> BinaryIO:
    """Get standard input as bytes.

    Raises:
        ValueError: It is closed.
    """
    if sys.stdin is None:
        raise ValueError("Standard input is closed. Give a file, or a pipe.")
    return sys.stdin.buffer


@contextmanager
def output(path: str | None, *, overwrite: bool, part: IO[bytes] | None = None) -> Iterator[TextIO]:
    """Open the output: a file written atomically at the end of the block, or standard output, or a given `part`.

    The file is opened at once, so an output that cannot be written is an error before the work begins. After Ctrl-C
    the file is written with the results so far.
    """
    if part is not None:
        text = io.TextIOWrapper(part, encoding="utf-8", errors="surrogateescape", write_through=True)
        yield text
        text.detach()
        return
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
            raise  # about another file
        raise _unwritable(path, error) from error
    if interrupted:
        raise KeyboardInterrupt


def _opened(path: str, overwrite: bool, stack: ExitStack) -> IO[bytes]:
    try:
        # A pipe or a device is written to, and must not be replaced by a file.
        special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
        return stack.enter_context(open(path, "wb") if special else replacing(path, overwrite=overwrite))
    except OSError as error:
        if error.errno is None:  # from `replacing`, with advice
            raise
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be written ({error.strerror}). Make room, or choose another --out.")


def print_faults(*faults: Fault) -> None:
    """Print one line per fault on standard error."""
    for fault in faults:
        print_note(" ".join(str(fault).split()))


def print_note(message: str) -> None:
    """Print one line on standard error."""
    print(f"speechrnn: {message}", file=sys.stderr)


def examples_with_text(path: str, faults: Faults) -> tuple[list[Any], int]:
    """Read the examples of a manifest that have a text, and the number of all examples; the others become faults."""
    from speechrnn.data import manifest

    examples = manifest.read(path, faults=faults)
    total = len(examples) + len(faults)
    for example in examples:
        if example.text is None:
            message = f"{example.path}: has no `text` to compare with. Add it to the manifest."
            faults.add(example.path, "without a text", message)
    return [example for example in examples if example.text is not None], total


def print_summary(faults: Faults, total: int, *, noun: str, verb: str = "failed") -> int:
    """Print a summary of the faults, if any, on standard error; returns the exit code."""
    if not len(faults):
        return DONE
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in faults.counts().items())
    print(f"speechrnn: {len(faults):,} of {total:,} {noun} {verb}: {kinds}.", file=sys.stderr)
    return SOME_FAILED


def progress_bars(*columns: ProgressColumn) -> Progress:
    """Progress bars on standard error, removed when they are done.

    Standard output is not redirected, since rich would print it on standard error.
    """
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


@contextmanager
def progress(total: int | None, what: str, *, to_terminal: bool = False) -> Iterator[Callable[[object], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    The yielded function is called with the number of items done since the last call, or with one item that is done.

    Args:
        total: Number of items; None if unknown.
        what: Label of the bar.
        to_terminal: Results are printed to the terminal meanwhile, so there is no bar.
    """
    if not sys.stderr.isatty() or (to_terminal and sys.stdout.isatty()):
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    with progress_bars(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done if isinstance(done, int) else 1)


@contextmanager
def file_progress(
    total: int, *, to_terminal: bool = False
) -> Iterator[tuple[Callable[[object], None], Callable[[str, float, float], None]]]:
    """Like `progress`, with a second function for progress within a file: path, seconds done, seconds in total."""
    if not sys.stderr.isatty() or (to_terminal and sys.stdout.isatty()):
        yield lambda done: None, lambda path, done, seconds: None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn()
    with progress_bars(*columns) as bar:
        files = bar.add_task("files", total=total, done=f"0/{total}")
        within = bar.add_task("", visible=False, done="")

        def advance(path: object) -> None:
            bar.advance(files)
            bar.update(files, done=f"{round(bar.tasks[0].completed)}/{total}")
            bar.update(within, visible=False)

        def advance_within(path: str, done: float, seconds: float) -> None:
            position = f"{_clock(done)}/{_clock(seconds)}" if seconds else _clock(done)
            name = os.path.basename(path)
            bar.update(within, description=name, total=seconds or None, completed=done, done=position, visible=True)

        yield advance, advance_within


def print_results(
    find: Callable[..., Iterable[Any]],
    model: tuple[str, str],
    sources: Sequence[str],
    line: Callable[[Any], str],
    *,
    json: bool,
    out: str | None,
    overwrite: bool,
) -> int:
    """Print all results found in files, each after its file's name or as a JSON object; returns the exit code.

    `find` gets the session of `model`, a file and kind, and `progress`; it yields a list or a `Fault` for each file.
    """
    faults = Faults()
    with (
        output(out, overwrite=overwrite) as file,
        progress(len(sources), "files", to_terminal=out is None) as done,
    ):
        for source, outcome in zip(sources, find(load_any(*model), progress=done), strict=True):
            if isinstance(outcome, Fault):
                faults.extend([outcome])
                print_faults(outcome)
                continue
            for result in outcome:
                print(as_json({"path": source, **asdict(result)}) if json else f"{source}\t{line(result)}", file=file)
            file.flush()
    return print_summary(faults, len(sources), noun="files")


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))


def load_any(path: str | None, kind: str | None = None) -> Any:
    """Open a session of a model in a file, or of the default included model.

    Args:
        path: The file, or the name of an included model.
        kind: Required kind of the model.

    Raises:
        FileNotFoundError: The file does not exist; raised before TensorFlow is started, which takes seconds.
        ValueError: It has another kind.
    """
    from speechrnn.models import loading

    path = loading.DEFAULT if path is None else path
    start_tensorflow_for(path)
    return loading.load_session(path, kind=kind)


def missing_model(model: str) -> FileNotFoundError:
    """Create the error for a .keras model that does not exist; an included model has no .keras file."""
    from speechrnn.models import loading

    try:
        return FileNotFoundError(f"{model}: is an included model, which is exported already: {loading.shipped(model)}")
    except FileNotFoundError:
        return FileNotFoundError(f"{model}: no such model file.")


def load_model(path: str | None) -> Any:
    """Open a session of a recognizer, as `load_any`."""
    return load_any(path, "recognizer")


def model_limits(model: Any) -> dict[str, Any]:
    """Options of manifest checks for the training of a recognizer: vocabulary and number of frames."""
    from speechrnn.tasks.recognition import attachments
    from speechrnn.tasks.recognition.model_types import is_transducer
    from speechrnn.tasks.recognition.phones import Words
    from speechrnn.text import Phones, lexicons

    vocabulary = model.vocabulary
    if isinstance(vocabulary, Phones) and (lexicon := attachments.attached_options(model).get("lexicon")) is not None:
        vocabulary = Words(vocabulary, lexicons.load(lexicon))
    about = {"vocabulary": vocabulary, "sample_rate": model.sample_rate, "stride": model.stride}
    return {**about, "frame_count": model.feature_frames, "longer_texts": is_transducer(model)}


def load_streaming(path: str | None) -> BaseStreamingSession:
    """Open a streaming session of a recognizer in a file, or of the default included model.

    Raises:
        FileNotFoundError: There is no such file.
    """
    from speechrnn.models import loading

    path = loading.DEFAULT if path is None else path
    start_tensorflow_for(path, streaming=True)
    return loading.load_session(path, streaming=True, threads=1)


def start_tensorflow_for(path: str | None, *, streaming: bool = False) -> None:
    """Start TensorFlow if the model in a file has to be exported first.

    Raises:
        FileNotFoundError: The file does not exist; raised before TensorFlow is started, which takes seconds.
    """
    from speechrnn.models import loading

    if path is not None and loading.needs_tensorflow(path, streaming=streaming):
        start_tensorflow(f"{path}: a .keras model")


def start_tensorflow(what: str = "This") -> None:
    """Import TensorFlow without its messages on standard error, which are shown only if it fails.

    If TF_CPP_MIN_LOG_LEVEL is set, it decides instead.

    Args:
        what: What needs it, for the error.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    try:
        _import_tensorflow()
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ModuleNotFoundError(f"{what} needs TensorFlow. Install it: pip install 'speechrnn[train]'") from error


def _import_tensorflow() -> None:
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        import tensorflow

        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:  # its first messages ignore the level, so the descriptor is redirected
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
