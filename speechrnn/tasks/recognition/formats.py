"""Write transcripts as text, JSON, subtitles (SRT, WebVTT), tables (TSV) and time-marked words (NIST CTM).

pysubs2 1.8 is not used for subtitles: its model is SubStation Alpha, so that it drops text in braces, and does not
escape `&` and `<` in WebVTT, which players then read as markup. It has no TSV and CTM, and does not group words.
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
"""All formats; each is also the ending of its files."""

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)
"""Characters of scripts without spaces: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class Cue:
    """A subtitle."""

    start: float
    end: float
    lines: tuple[str, ...]


def render(transcript: Transcript, format: str, options: CueOptions | None = None, *, name: str | None = None) -> str:
    """A transcript in one of `FORMATS`, ending with a line break.

    Args:
        transcript: The transcript.
        format: One of `FORMATS`.
        options: How subtitles (srt, vtt, tsv) are split.
        name: Name of the recording in CTM; by default the stem of its path.

    Raises:
        ValueError: The format is unknown.

    Example:
    >>> words = Word("hello", 0.2, 0.5, 0.9), Word("there", 0.6, 1, 0.8)
    >>> transcript = Transcript("talks/a.wav", "hello there", words, 2.0)
    >>> print(render(transcript, "srt"), end="")
    1
    00:00:00,200 --> 00:00:01,200
    hello there
    >>> print(render(transcript, "ctm"), end="")
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
    """Group words into subtitles.

    A pause of `cue_gap` always ends a subtitle. Without one, words are added until it is full; then it is cut at the
    longest pause in its second half.

    Args:
        words: Words in the order of their times.
        options: Sizes of subtitles.
        duration: Duration of the recording, to which subtitles are limited.

    Returns:
        Subtitles in order, without overlap.
    """
    options = options or CueOptions()
    groups = list(_groups([part for word in words for part in _parts(word, options)], options))
    result = []
    for group, following in itertools.zip_longest(groups, groups[1:]):
        start, end = group[0].start, max(group[-1].end, group[0].start + options.cue_hold)
        for latest in (duration, following[0].start if following else None):
            end = end if latest is None else max(start, min(end, latest))
        result.append(Cue(start, end, tuple(_wrapped(group, options))))
    return result


# Cues


def _parts(word: Word, options: CueOptions) -> Iterator[Word]:
    """Split a word of a script without spaces, where a minute of text may be one word; others are yielded unchanged.

    A part is at most one line long and lasts at most as long as a subtitle; time is divided by numbers of characters.
    """
    text, duration = word.word, word.end - word.start
    if not _SPACELESS.search(text):
        yield word
        return
    fitting = math.floor(options.cue_seconds * len(text) / duration + 1e-9) if duration > 0 else len(text)
    longest = max(1, min(options.line_characters, fitting))
    first = 0
    while first < len(text):
        left = len(text) - first
        last = first + math.ceil(left / math.ceil(left / longest))  # parts of similar lengths
        while first + 1 < last < len(text) and unicodedata.category(text[last])[0] == "M":
            last -= 1  # keep a combining mark with its letter
        start, end = (word.start + duration * index / len(text) for index in (first, last))
        yield replace(word, word=text[first:last], start=start, end=end)
        first = last


def _groups(words: Sequence[Word], options: CueOptions) -> Iterator[list[Word]]:
    group = _Group(options)
    for word in words:
        if group.words and word.start - group.words[-1].end >= options.cue_gap:
            yield group.pop(len(group.words))
        group.words.append(word)
        while len(group.words) > 1 and not group.fits():
            yield group.pop(group.best_break())
    if group.words:
        yield group.pop(len(group.words))


@dataclass
class _Group:
    """The words of the next subtitle."""

    options: CueOptions
    words: list[Word] = field(default_factory=list)

    def pop(self, count: int) -> list[Word]:
        """Remove and return the first words."""
        first, self.words = self.words[:count], self.words[count:]
        return first

    def fits(self) -> bool:
        """Whether the words fit in one subtitle."""
        too_long = self.words[-1].end - self.words[0].start > self.options.cue_seconds
        return not too_long and len(_wrapped(self.words, self.options)) <= self.options.cue_lines

    def best_break(self) -> int:
        """Index at which to cut words that do not fit: at the longest pause in the second half, the last one if equal.

        Pauses are compared in whole milliseconds, so that rounding errors do not decide.
        """
        indices = range(max(1, len(self.words) // 2), len(self.words))
        return max(indices, key=lambda i: (round(1000 * (self.words[i].start - self.words[i - 1].end)), i))


def _wrapped(words: Sequence[Word], options: CueOptions) -> list[str]:
    """Wrap the words into lines; two lines are made about equally long."""
    text = " ".join(word.word for word in words)
    lines = textwrap.wrap(text, options.line_characters, break_long_words=False, break_on_hyphens=False)
    if len(lines) != 2:
        return lines
    spaces = [i for i, character in enumerate(text) if character == " "]
    middle = min(spaces, key=lambda i: (max(i, len(text) - i - 1), i))
    return [text[:middle], text[middle + 1 :]]


# Writers


def clock(seconds: float, separator: str = ",") -> str:
    """Format seconds as in subtitles.

    Example:
    >>> clock(3661.5), clock(0.0004, ".")
    ('01:01:01,500', '00:00:00.000')
    """
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{separator}{rest % 1000:03}"


def _srt(cues: Sequence[Cue]) -> str:
    return "\n".join(
        f"{number}\n{clock(cue.start)} --> {clock(cue.end)}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues, 1)
    )


def _vtt(cues: Sequence[Cue]) -> str:
    blocks = ["WEBVTT\n"]
    for cue in cues:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def _tsv(cues: Sequence[Cue]) -> str:
    rows = [f"{round(1000 * cue.start)}\t{round(1000 * cue.end)}\t{' '.join(cue.lines)}\n" for cue in cues]
    return "start\tend\ttext\n" + "".join(rows)


def _ctm(transcript: Transcript, name: str | None) -> str:
    name = "_".join((name or Path(transcript.path).stem).split()) or "-"
    channel = 1 if transcript.channel is None else transcript.channel + 1
    return "".join(
        f"{name} {channel} {word.start:.3f} {word.end - word.start:.3f} {word.word} {word.confidence:.4f}\n"
        for word in transcript.words
    )


_SUBTITLES: dict[str, Callable[[Sequence[Cue]], str]] = {"srt": _srt, "vtt": _vtt, "tsv": _tsv}
