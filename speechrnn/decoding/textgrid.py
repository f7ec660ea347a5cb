"""Praat's TextGrid files: labeled intervals of a recording.

praatio 6.2 is not used: adjacent intervals that overlap by a rounding error (0.6000000000000001 and 0.6) and empty ones
are errors there, so that they would have to be corrected as in `write`; and an invalid file is an `IndexError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

Interval = tuple[float, float, str]
"""Start and end in seconds, and the label."""

_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_LONG = re.compile(rf'xmin = {_NUMBER}\s+xmax = {_NUMBER}\s+text = "((?:[^"]|"")*)"')
_SHORT = re.compile(rf'^{_NUMBER}\s+{_NUMBER}\s+"((?:[^"]|"")*)"', re.MULTILINE)
_TIER = re.compile(r'"IntervalTier"\s+(?:name = )?"((?:[^"]|"")*)"')


def write(tiers: dict[str, Sequence[Interval]], duration: float) -> str:
    """A TextGrid in the long form; gaps between the intervals of a tier are intervals with an empty label.

    Example:
    >>> write({"words": [(0.5, 1.0, "yes")]}, 1.0).splitlines()[-1].strip()
    'text = "yes"'
    """
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {duration:.10g}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        complete = _without_gaps(intervals, duration)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {duration:.10g}", f"        intervals: size = {len(complete)}"]
        for i, (start, end, label) in enumerate(complete, start=1):
            lines += [f"        intervals [{i}]:", f"            xmin = {start:.10g}", f"            xmax = {end:.10g}"]
            lines.append(f"            text = {_quoted(label)}")
    return "\n".join([*lines, ""])


def _without_gaps(intervals: Sequence[Interval], duration: float) -> list[Interval]:
    complete: list[Interval] = []
    last = 0.0
    for start, end, label in intervals:
        start, end = max(start, last), min(end, duration)
        if end <= start:
            continue
        if start > last:
            complete.append((last, start, ""))
        complete.append((start, end, label))
        last = end
    if last < duration or not complete:
        complete.append((last, duration, ""))
    return complete


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def read(path: str | os.PathLike[str]) -> dict[str, list[Interval]]:
    """The interval tiers of a TextGrid, long or short form, by name; empty labels are left out.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a TextGrid.
    """
    data = Path(path).read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no TextGrid: {error}.") from error
    if "TextGrid" not in text[:200]:
        raise ValueError(f"{path}: is no TextGrid: its first lines do not say so.")
    heads = list(_TIER.finditer(text))
    tiers = {}
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : after.start() if after else len(text)]
        rows = _LONG.findall(body) or _SHORT.findall(body)
        tiers[_unquoted(head[1])] = [(float(a), float(b), _unquoted(label)) for a, b, label in rows if label.strip()]
    return tiers


def _unquoted(text: str) -> str:
    return text.replace('""', '"')
