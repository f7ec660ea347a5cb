"""Transcripts: the text of a recording, with its words' times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn.decoding.best_path import WordPath
from speechrnn.models.answers import Answer

if TYPE_CHECKING:
    from speechrnn.decoding import Path
    from speechrnn.text import Vocabulary


@dataclass(frozen=True)
class Word:
    """A recognized word with its times."""

    word: str
    start: float
    """Seconds from the start of the transcribed audio."""
    end: float
    """Seconds from the start of the transcribed audio."""
    confidence: float
    """In (0, 1]: geometric mean of the model's probabilities of the word's symbols."""


@dataclass(frozen=True)
class Alternative:
    """One of the likeliest texts of a recording."""

    text: str
    score: float
    """Score of the search, a natural logarithm; only differences within one recording are meaningful."""


@dataclass(frozen=True)
class Transcript(Answer):
    """The text of one recording."""

    text: str = ""
    words: tuple[Word, ...] = ()
    duration: float = 0.0
    """Seconds of audio that were transcribed."""
    channel: int | None = None
    """The transcribed channel, from 0, if channels were transcribed separately."""
    alternatives: tuple[Alternative, ...] = ()
    """The likeliest texts, `text` first, if they were requested."""

    def to_dict(self) -> dict[str, Any]:
        """The transcript as JSON values, with times in seconds rounded to milliseconds."""
        return {
            "path": self.path,
            "text": self.text,
            "duration": round(self.duration, 3),
            **({} if self.channel is None else {"channel": self.channel}),
            "words": [
                {
                    "word": w.word,
                    "start": round(w.start, 3),
                    "end": round(w.end, 3),
                    "confidence": round(w.confidence, 4),
                }
                for w in self.words
            ],
            **(
                {"alternatives": [{"text": a.text, "score": round(a.score, 3)} for a in self.alternatives]}
                if self.alternatives
                else {}
            ),
        }


def join_alternatives(first: Sequence[Alternative], then: Sequence[Alternative], most: int) -> list[Alternative]:
    """The likeliest texts of two consecutive parts of a recording that were decoded separately.

    Args:
        first: Alternatives of the first part, the best first; may be empty.
        then: Alternatives of the next part.
        most: Largest number of results.

    Example:
    >>> a, b = [Alternative("one", -1), Alternative("won", -3)], [Alternative("two", -1), Alternative("to", -1.5)]
    >>> [(found.text, found.score) for found in join_alternatives(a, b, 3)]
    [('one two', -2), ('one to', -2.5), ('won two', -4)]
    """
    if not first:
        return list(then[:most])
    pairs = (Alternative(f"{a.text} {b.text}".strip(), a.score + b.score) for a in first for b in then)
    return sorted(pairs, key=lambda found: -found.score)[:most]


def spell(path: Path, vocabulary: Vocabulary, *, frame_period: float, start: float = 0.0) -> list[Word]:
    """The words of a decoded path: those of a lexicon, or else the text between spaces, with which a subword may begin.

    Args:
        path: The result of a decoder.
        vocabulary: The vocabulary of its indices.
        frame_period: Seconds between frames.
        start: Time of the path's first frame in seconds.
    """
    if isinstance(path, WordPath):
        ends = pairwise([0, *np.cumsum(path.lengths).tolist()])
        return [_word(word, path, a, b, frame_period, start) for word, (a, b) in zip(path.words, ends, strict=True)]
    spellings = vocabulary.spellings
    symbols = [spellings[index] for index in path.ids]
    edges = [0, *(i for i, symbol in enumerate(symbols) if symbol[:1].isspace()), len(symbols)]
    words = []
    for before, after in pairwise(edges):
        first = before + (before < after and symbols[before].isspace())  # a space that is a symbol belongs to no word
        if first < after:
            words.append(_word("".join(symbols[first:after]).strip(), path, first, after, frame_period, start))
    return words


def _word(text: str, path: Path, first: int, after: int, frame_period: float, start: float) -> Word:
    """The word that consists of some symbols of a path."""
    begin = start + float(path.start_frames[first]) * frame_period
    end = start + float(path.end_frames[after - 1]) * frame_period
    confidences = np.maximum(path.confidences[first:after], np.finfo("float32").tiny)  # they may have underflown
    return Word(text, begin, end, float(np.exp(np.log(confidences).mean())))


_SHORTEST = 0.01
"""Shortest duration of a word whose times were shifted, in seconds."""


def shift_times(words: Sequence[Word], duration: float, *, start: float = 0.0, end: float = 0.0) -> list[Word]:
    """Shift the times of words, to correct a recognizer that is systematically late or early.

    Args:
        words: Words in order.
        duration: Seconds of the recording, to which all times are limited.
        start: Seconds added to the starts of words.
        end: Seconds added to their ends. Words that would then overlap meet half way; each keeps some duration.
    """
    times = [[min(max(w.start + start, 0.0), duration), min(max(w.end + end, 0.0), duration)] for w in words]
    for pair in times:
        pair[1] = max(pair)
    for before, after in pairwise(times):
        if before[1] > after[0]:
            middle = min(max((before[1] + after[0]) / 2, before[0]), after[1])
            before[1] = after[0] = middle
    least, now = min([_SHORTEST, *(word.end - word.start for word in words)]), 0.0
    for pair in times:
        pair[0] = max(pair[0], now)
        now = pair[1] = max(pair[1], pair[0] + least)
    for pair in reversed(times):
        pair[1] = min(pair[1], duration)
        duration = pair[0] = max(0.0, min(pair[0], pair[1] - least))
    return [replace(word, start=a, end=b) for word, (a, b) in zip(words, times, strict=True)]
