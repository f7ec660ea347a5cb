"""Transcripts as text, JSON, subtitles (SRT, WebVTT), tables (TSV) and time-marked words (NIST CTM).

Subtitles are not written by pysubs2 1.8: it thinks in SubStation Alpha, so it drops what stands in braces, and leaves
`&` and `<` in WebVTT as they are, which players then take for markup. It has no TSV and CTM, and gathers no words.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from speechrnn.faults import check_choice
from speechrnn.files import as_json
from speechrnn.tasks.recognition.options import CueOptions
from speechrnn.tasks.recognition.transcript import Transcript, Word

FORMATS = ("txt", "json", "srt", "vtt", "tsv", "ctm")
"""The formats there are; each is also the ending of its files."""

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class Cue:
    """A subtitle."""

    start: float
    end: float
    lines: tuple[str, ...]


def render(transcript: Transcript, format: str, options: CueOptions | None = None, *, name: str | None = None) -> str:
    """A transcript in one of `FORMATS`, ending with a line break.

    Args:
        transcript: What was said.
        format: One of `FORMATS`.
        options: How subtitles (srt, vtt, tsv) are split.
        name: What CTM calls the recording; by default the stem of its path.

    Raises:
        ValueError: The format is unknown.

    Example:
    >>> said = Transcript("talks/a.wav", "hello there", (Word("hello", 0.2, 0.5, 0.9), Word("there", 0.6, 1, 0.8)), 2.0)
    >>> print(render(said, "srt"), end="")
    1
    00:00:00,200 --> 00:00:01,200
    hello there
    >>> print(render(said, "ctm"), end="")
    a 1 0.200 0.300 hello 0.9000
    a 1 0.600 0.400 there 0.8000
    """
    check_choice("format", format, FORMATS)
    if format == "txt":
        return f"{transcript.text}\n"
    if format == "json":
        return as_json(transcript.to_dict(), indent=1) + "\n"
    if format == "ctm":
        return _ctm(transcript, name)
    return _SUBTITLES[format](cues(transcript.words, options, duration=transcript.duration))


def cues(words: Sequence[Word], options: CueOptions | None = None, *, duration: float | None = None) -> list[Cue]:
    """Gather words into subtitles.

    A pause of `cue_gap` always ends one. Where the words run on, a subtitle is filled as far as it may be and then cut
    back to the longest pause in its second half.

    Args:
        words: In the order of their times.
        options: Sizes.
        duration: Length of the recording, which no subtitle outlasts.

    Returns:
        Subtitles in order; none begins before the one before it has ended.
    """
    options = options or CueOptions()
    groups = list(_groups([part for word in words for part in _parts(word, options)], options))
    made = []
    for group, following in itertools.zip_longest(groups, groups[1:]):
        start, end = group[0].start, max(group[-1].end, group[0].start + options.cue_hold)
        for latest in (duration, following[0].start if following else None):
            end = end if latest is None else max(start, min(end, latest))
        made.append(Cue(start, end, tuple(_wrapped(group, options))))
    return made


# Cues


def _parts(word: Word, options: CueOptions) -> Iterator[Word]:
    """A word; or its parts, if it is of a script without spaces, where a minute of text may be one word.

    They are no longer than a line and last no longer than a subtitle, and share its time by their characters.
    """
    text, duration = word.word, word.end - word.start
    if not _SPACELESS.search(text):
        yield word
        return
    fitting = math.floor(options.cue_seconds * len(text) / duration + 1e-9) if duration > 0 else len(text)
    most = max(1, min(options.line_characters, fitting))
    first = 0
    while first < len(text):
        left = len(text) - first
        last = first + math.ceil(left / math.ceil(left / most))  # parts about equal
        while first + 1 < last < len(text) and unicodedata.category(text[last])[0] == "M":
            last -= 1  # a mark stays with its letter
        start, end = (word.start + duration * place / len(text) for place in (first, last))
        yield replace(word, word=text[first:last], start=start, end=end)
        first = last


def _groups(words: Sequence[Word], options: CueOptions) -> Iterator[list[Word]]:
    filling = _Filling(options)
    for word in words:
        if filling.words and word.start - filling.words[-1].end >= options.cue_gap:
            yield filling.take(len(filling.words))
        filling.words.append(word)
        while len(filling.words) > 1 and not filling.fits():
            yield filling.take(filling.best_break())
    if filling.words:
        yield filling.take(len(filling.words))


@dataclass
class _Filling:
    """The words of the subtitle that is being filled."""

    options: CueOptions
    words: list[Word] = field(default_factory=list)

    def take(self, count: int) -> list[Word]:
        taken, self.words = self.words[:count], self.words[count:]
        return taken

    def fits(self) -> bool:
        long = self.words[-1].end - self.words[0].start > self.options.cue_seconds
        return not long and len(_wrapped(self.words, self.options)) <= self.options.cue_lines

    def best_break(self) -> int:
        """Where to cut words of which the last one is too many: the longest pause in the second half, the last of them.

        Times are compared in whole milliseconds: rounding must not decide.
        """
        places = range(max(1, len(self.words) // 2), len(self.words))
        return max(places, key=lambda i: (round(1000 * (self.words[i].start - self.words[i - 1].end)), i))


def _wrapped(words: Sequence[Word], options: CueOptions) -> list[str]:
    """The words in lines; two lines are made about equal."""
    text = " ".join(word.word for word in words)
    lines = textwrap.wrap(text, options.line_characters, break_long_words=False, break_on_hyphens=False)
    if len(lines) != 2:
        return lines
    spaces = [i for i, character in enumerate(text) if character == " "]
    middle = min(spaces, key=lambda i: (max(i, len(text) - i - 1), i))
    return [text[:middle], text[middle + 1 :]]


# Writers


def clock(seconds: float, separator: str = ",") -> str:
    """Seconds as subtitles write them.

    Example:
    >>> clock(3661.5), clock(0.0004, ".")
    ('01:01:01,500', '00:00:00.000')
    """
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{separator}{rest % 1000:03}"


def _srt(found: Sequence[Cue]) -> str:
    return "\n".join(
        f"{number}\n{clock(cue.start)} --> {clock(cue.end)}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(found, 1)
    )


def _vtt(found: Sequence[Cue]) -> str:
    blocks = ["WEBVTT\n"]
    for cue in found:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def _tsv(found: Sequence[Cue]) -> str:
    rows = [f"{round(1000 * cue.start)}\t{round(1000 * cue.end)}\t{' '.join(cue.lines)}\n" for cue in found]
    return "start\tend\ttext\n" + "".join(rows)


def _ctm(transcript: Transcript, name: str | None) -> str:
    name = "_".join((name or Path(transcript.path).stem).split()) or "-"
    channel = 1 if transcript.channel is None else transcript.channel + 1
    return "".join(
        f"{name} {channel} {word.start:.3f} {word.end - word.start:.3f} {word.word} {word.confidence:.4f}\n"
        for word in transcript.words
    )


_SUBTITLES: dict[str, Callable[[Sequence[Cue]], str]] = {"srt": _srt, "vtt": _vtt, "tsv": _tsv}
