"""Find keywords in recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb

_EPILOG = """\
The model is a classifier of single words, such as `pipelines/keyword_spotting.py` trains. It classifies one window
after the other; each line is a keyword, `path<TAB>start<TAB>end<TAB>keyword<TAB>probability`, with the times, in
seconds, of the window that decided it. With --json each line is an object. FILE may be `-`, a pipe; recordings may be
of any length. A file without keywords gives no line; one that cannot be read is named on standard error, and the exit
code is 1.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    groups = {"options": [Group("speechrnn.tasks.classification.options:SpottingOptions", "keywords")]}
    renamed = {"--window": "--window-seconds", "--hop": "--hop-seconds", "--pause": "--debounce"}
    return Verb("spot", spot, groups, _EPILOG, {old: f"now called {new}." for old, new in renamed.items()})


def spot(
    *sources: Annotated[str, "FILE"],
    model: Annotated[str, "MODEL"],
    options: Mapping[str, Any],
    json: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Find keywords in recordings.

    Args:
        sources: Audio files.
        model: A .onnx, .keras or .tflite classifier of single words.
        options: Options of the search.
        json: one object per line.
        out: a file; by default standard output.
    """
    from speechrnn.tasks.classification import spotting

    def find(session: Any, progress: Any) -> Any:
        streams = [terminal.standard_input() if source == "-" else source for source in sources]
        return spotting.spot(session, streams, progress=progress, **options)

    line = "{0.start:.2f}\t{0.end:.2f}\t{0.label}\t{0.probability:.3f}".format
    return terminal.print_results(find, (model, "classifier"), sources, line, json=json, out=out, overwrite=overwrite)
