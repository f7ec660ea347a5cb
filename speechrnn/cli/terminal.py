"""What the verbs share: where results go, which faults are named, and when a bar is shown."""

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

    from speechrnn.tasks.recognition.listening import Listening


def standard_input() -> BinaryIO:
    """The bytes of standard input.

    Raises:
        ValueError: It is closed.
    """
    if sys.stdin is None:
        raise ValueError("Standard input is closed. Give a file, or a pipe.")
    return sys.stdin.buffer


@contextmanager
def output(path: str | None, *, overwrite: bool, part: IO[bytes] | None = None) -> Iterator[TextIO]:
    """Standard output, or a file that is there whole when the block is done, or the part of one that is given.

    The file is opened at once, so an output that cannot be written is known before the work begins. After Ctrl-C the
    file keeps the results there are.
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


def name_fault(*faults: Fault) -> None:
    """A line on standard error for each."""
    for fault in faults:
        note(" ".join(str(fault).split()))


def note(message: str) -> None:
    """One line on standard error that is about no file."""
    print(f"speechrnn: {message}", file=sys.stderr)


def with_text(path: str, faults: Faults) -> tuple[list[Any], int]:
    """The examples of a manifest that have a text to compare with, and how many it lists; the others are faults."""
    from speechrnn.data import manifest

    examples = manifest.read(path, faults=faults)
    total = len(examples) + len(faults)
    for example in examples:
        if example.text is None:
            message = f"{example.path}: has no `text` to compare with. Add it to the manifest."
            faults.add(example.path, "without a text", message)
    return [example for example in examples if example.text is not None], total


def verdict(faults: Faults, total: int, *, noun: str, verb: str = "failed") -> int:
    """Sum faults up on standard error, if there are any; gives the exit code."""
    if not len(faults):
        return DONE
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in faults.counts().items())
    print(f"speechrnn: {len(faults):,} of {total:,} {noun} {verb}: {kinds}.", file=sys.stderr)
    return SOME_FAILED


def bars(*columns: ProgressColumn) -> Progress:
    """Bars on standard error that are gone once they are full.

    Standard output is left alone: rich would send it to standard error.
    """
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    with bars(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done if isinstance(done, int) else 1)


@contextmanager
def file_progress(
    total: int, *, to_terminal: bool = False
) -> Iterator[tuple[Callable[[object], None], Callable[[str, float, float], None]]]:
    """As `progress` over files, and a second function for the place within a long one: path, seconds done, seconds."""
    if not sys.stderr.isatty() or (to_terminal and sys.stdout.isatty()):
        yield lambda done: None, lambda path, done, seconds: None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn()
    with bars(*columns) as bar:
        files = bar.add_task("files", total=total, done=f"0/{total}")
        within = bar.add_task("", visible=False, done="")

        def advance(path: object) -> None:
            bar.advance(files)
            bar.update(files, done=f"{round(bar.tasks[0].completed)}/{total}")
            bar.update(within, visible=False)

        def heard(path: str, done: float, seconds: float) -> None:
            place = f"{_clock(done)}/{_clock(seconds)}" if seconds else _clock(done)
            name = os.path.basename(path)
            bar.update(within, description=name, total=seconds or None, completed=done, done=place, visible=True)

        yield advance, heard


def print_found(
    find: Callable[..., Iterable[Any]],
    model: tuple[str, str],
    sources: Sequence[str],
    line: Callable[[Any], str],
    *,
    json: bool,
    out: str | None,
    overwrite: bool,
) -> int:
    """Print all that is found in files, each behind its file's name or as a JSON object; gives the exit code.

    `find` gets the model, of which there are file and kind, and `progress`; it gives a list or a `Fault` for each file.
    """
    faults = Faults()
    with (
        output(out, overwrite=overwrite) as file,
        progress(len(sources), "files", to_terminal=out is None) as done,
    ):
        for source, outcome in zip(sources, find(load_any(*model), progress=done), strict=True):
            if isinstance(outcome, Fault):
                faults.extend([outcome])
                name_fault(outcome)
                continue
            for one in outcome:
                print(as_json({"path": source, **asdict(one)}) if json else f"{source}\t{line(one)}", file=file)
            file.flush()
    return verdict(faults, len(sources), noun="files")


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))


def load_any(path: str | None, kind: str | None = None) -> Any:
    """A session of the model in a file, or of the one that comes with the package.

    Args:
        path: The file, or a name that ships.
        kind: What kind of model it must be.

    Raises:
        FileNotFoundError: There is no such file; this is known before TensorFlow, which takes seconds, is started.
        ValueError: It is of another kind.
    """
    from speechrnn.models import loading

    path = loading.DEFAULT if path is None else path
    start_for(path)
    return loading.load_session(path, kind=kind)


def missing_model(model: str) -> FileNotFoundError:
    """The error for a .keras model that is no file; an included model has none."""
    from speechrnn.models import loading

    try:
        return FileNotFoundError(f"{model}: is an included model, which is exported already: {loading.shipped(model)}")
    except FileNotFoundError:
        return FileNotFoundError(f"{model}: no such model file.")


def load_model(path: str | None) -> Any:
    """As `load_any`, for a recognizer."""
    return load_any(path, "recognizer")


def fitting(model: Any) -> dict[str, Any]:
    """What examples must fit to be learned by a recognizer, as checks of manifests take it."""
    from speechrnn.tasks.recognition import carried
    from speechrnn.tasks.recognition.joint import transduces
    from speechrnn.tasks.recognition.phones import Words
    from speechrnn.text import Phones, lexicons

    vocabulary = model.vocabulary
    if isinstance(vocabulary, Phones) and (lexicon := carried.options_of(model).get("lexicon")) is not None:
        vocabulary = Words(vocabulary, lexicons.named(lexicon))
    about = {"vocabulary": vocabulary, "sample_rate": model.sample_rate, "stride": model.stride}
    return {**about, "frame_count": model.feature_frames, "longer_texts": transduces(model)}


def load_streaming(path: str | None) -> Listening:
    """A recognizer that listens: the one in a file, or the one that comes with the package.

    Raises:
        FileNotFoundError: There is no such file.
    """
    from speechrnn.models import loading

    path = loading.DEFAULT if path is None else path
    start_for(path, streaming=True)
    return loading.load_session(path, streaming=True, threads=1)


def start_for(path: str | None, *, streaming: bool = False) -> None:
    """Start TensorFlow if the model in a file has to be exported first.

    Raises:
        FileNotFoundError: There is no such file; said before TensorFlow, which takes seconds, is started.
    """
    from speechrnn.models import loading

    if path is not None and loading.needs_tensorflow(path, streaming=streaming):
        start_tensorflow(f"{path}: a .keras model")


def start_tensorflow(what: str = "This") -> None:
    """Import TensorFlow without the notes that it writes to standard error; a failure shows them.

    Someone who sets TF_CPP_MIN_LOG_LEVEL gets what they ask for.

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
