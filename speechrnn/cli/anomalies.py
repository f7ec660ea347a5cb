"""Find anomalies in records of signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb

_EPILOG = """\
Each sample is compared with its forecast from one step before, and the errors of the last samples with those of
thousands before; with --clean SECONDS, the length of a start without anomalies, value, level, spread and spectrum count
too. Each line is an unexpected stretch, `path<TAB>start<TAB>end<TAB>likelihood`, times in seconds from the record's
first sample. With --json each line is an object. A record without anomalies gives no line; one that cannot be read is
named on standard error, and the exit code is 1.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    groups = {"options": [Group("speechrnn.tasks.forecasting.finding:find_anomalies", "anomalies")]}
    return Verb("anomalies", anomalies, groups, _EPILOG)


def anomalies(
    *sources: Annotated[str, "FILE"],
    model: Annotated[str, "MODEL"],
    options: Mapping[str, Any],
    json: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Find anomalies in records of signals.

    Args:
        sources: Records of signals.
        model: A .onnx or .keras forecaster, which has learned what is usual.
        options: Options of the search.
        json: one object per line.
        out: a file; by default standard output.
    """
    from speechrnn.tasks.forecasting.finding import find_anomalies

    find = partial(find_anomalies, paths=sources, **options)
    line = "{0.start:.10g}\t{0.end:.10g}\t{0.likelihood:.3f}".format
    return terminal.print_results(find, (model, "forecaster"), sources, line, json=json, out=out, overwrite=overwrite)
