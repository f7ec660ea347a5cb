"""Streaming search for words, block by block; see `speechrnn.decoding.lexicon`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechrnn.decoding import lexicon_models, viterbi
from speechrnn.decoding import lexicon_search as kernel
from speechrnn.decoding.alignment import BLANK_PENALTY, log_softmax, path_of, required_frames, spread
from speechrnn.decoding.beam import WordHypothesis
from speechrnn.decoding.best_path import WordPath

_MIN_LOG = -1e6
_CACHE_BITS = 22
"""4 million slots, 48 MB if all are used."""
_CONTEXT = 64
"""Final frames that are kept, in case the remaining symbols need more frames than are left."""
_MAX_FRAMES = 3000
"""Frames after which the best words become final even if others are possible."""


@dataclass(frozen=True, eq=False)
class SearchOptions:
    """Compiled models and options of a `speechrnn.decoding.lexicon.LexiconSearch`, where they are documented."""

    models: lexicon_models.Models
    columns: int
    """Number of columns of the logits."""
    words: tuple[str, ...]
    unknown_word: str | None
    separator: int | None
    separated: bool
    width: int
    token_floor: float
    beam_threshold: float
    caches: list[lexicon_models.LookAheadCache] = field(default_factory=list)
    """Caches of the language model's look-ahead from earlier searches, none of which is in use."""

    def cache(self) -> lexicon_models.LookAheadCache:
        """One of the caches, or a new one."""
        try:
            return self.caches.pop()
        except IndexError:
            # One state uses at most an eighth of it; so large that it is seldom emptied.
            least, all_states = 8 * self.models.trie.shape[1], 8 * int(self.models.ints[lexicon_models.NODES])
            size = 1 << max(least.bit_length(), min(_CACHE_BITS, all_states.bit_length()))
            keys, values = np.zeros(size, np.int64), np.zeros(size, np.float32)
            return lexicon_models.LookAheadCache(keys, values, np.zeros(1, np.int64))

    def align(self, logs: np.ndarray, hypothesis: WordHypothesis, *, final: bool = False) -> WordPath:
        """Align words to frames.

        Args:
            logs: float64 `(frames, columns)`, log-probabilities.
            hypothesis: The words; there are enough frames for their symbols.
            final: Whether the utterance ends here. Then phones may extend over neighboring frames, see `BLANK_PENALTY`;
                otherwise they could extend over those of the next word.
        """
        logs = np.maximum(logs, _MIN_LOG)
        ids, lengths = np.array(hypothesis.ids, np.int32), np.array(hypothesis.lengths, np.int32)
        edges = np.concatenate([[0], np.cumsum(lengths)])
        between, inner = np.zeros(len(ids) + 1, np.int64), np.ones(len(ids), bool)
        columns, spelled = logs, ids
        if self.separator is not None:
            blank_or_separator = logs.shape[1]
            columns = np.column_stack([logs, np.maximum(logs[:, 0], logs[:, self.separator])])
            between[edges] = blank_or_separator
            if self.separated and len(lengths) > 1:
                positions = edges[1:-1]
                spelled = np.insert(ids, positions, self.separator)
                inner = np.insert(inner, positions, False)
                between = np.insert(between, positions, blank_or_separator)
        path = path_of(logs, spelled, viterbi.best_states(columns, spelled, between))
        if final and self.separator is None:
            path = spread(path, logs, BLANK_PENALTY)
        values: Any = (path.ids, path.start_frames, path.end_frames, path.confidences)
        ids, starts, ends, confidences = (part[inner] for part in values)
        return WordPath(ids, starts, ends, confidences, hypothesis.words, lengths)


class LexiconStream:
    """Search through one utterance, block by block; `LexiconSearch.stream` starts one.

    Words become final when all prefixes of the beam begin with them; they are then aligned to their frames as part of
    the best text so far.

    Args:
        options: Models and options of the search.
        recombine: Keep only the best one of prefixes that any continuation scores equally: the beam is not filled with
            variants of earlier words, and words become final sooner. `n_best` has fewer texts then.

    Example:
    >>> from speechrnn.decoding.lexicon import LexiconSearch
    >>> from speechrnn.text import Vocabulary
    >>> search = LexiconSearch(Vocabulary("ABR"), [("bar", [2, 1, 3], 0.0), ("a", [1], 0.0)])
    >>> stream = search.stream()
    >>> stream.advance(9.0 * np.eye(4)[[2, 0, 1, 1, 3]]).words, stream.partial
    ((), 'bar')
    >>> final = stream.finish()
    >>> final.words, final.start_frames
    (('bar',), array([0, 2, 4], dtype=int32))
    """

    def __init__(self, options: SearchOptions, *, recombine: bool = True) -> None:
        self._options, self._models, self._recombine = options, options.models, recombine
        width, branching = options.width, int(self._models.ints[lexicon_models.BRANCHING])
        room = 4 * width + 256
        tree = np.empty((room, 9), np.int32)
        tree[0] = [-1, -1, -1, -1, lexicon_models.ROOT, kernel.OPEN, self._models.ints[lexicon_models.BEGIN], 0, 0]
        base, total, bound, position = np.zeros(room), np.zeros(room), np.zeros(room), np.zeros(room, np.int32)
        paths = np.full((2, width, 5), -np.inf)
        paths[0, 0, 0] = 0.0
        candidates = 3 * width + branching
        self._beam = kernel.Beam(
            tree, base, total, bound, position, np.zeros((2, width), np.int32), paths,
            np.empty((candidates, 7), np.int32), np.empty((candidates, 3)),
            np.zeros((2, 1 << int(2 * candidates - 1).bit_length()), np.int64),
            np.full((2, width), -1, np.int32), np.array([1, 1, 0]),
            np.empty(candidates), np.empty(width, np.int64), np.empty(options.columns, bool),
            np.empty(options.columns, np.int64),
        )  # fmt: skip
        cache = options.cache()
        bound[0] = kernel.next_word_bound(self._models, cache, tree[0])
        options.caches.append(cache)
        self._logs: list[np.ndarray] = []
        """Frames whose words are not final, and some before them."""
        self._first = self._frames = 0
        """The first frame in `_logs`, and the number of all frames so far."""
        self._begin = 0
        """The first frame that is not final."""
        self._finished = False

    def advance(self, logits: np.ndarray) -> WordPath:
        """Search through more logits.

        Args:
            logits: float `(frames, vocabulary)`, any number of frames.

        Returns:
            The words that have become final, with frames counted from the start of the utterance.

        Raises:
            ValueError: The stream was finished, or `logits` are not `(frames, vocabulary)` numbers.
        """
        self._logs.append(self.search_through(logits))
        final = kernel.common_prefix(self._beam) if len(logits) else 0
        if self._frames - self._begin > _MAX_FRAMES:
            final = int(self._best)
        while final and self._beam.tree[final, kernel.NODE] not in (lexicon_models.ROOT, kernel.ENDED):
            final = int(self._beam.tree[final, kernel.PARENT])
        return self._finalize(final) if final else _empty_path()

    @property
    def partial(self) -> str:
        """The most probable words so far that are not final."""
        return self._hypothesis(self._best, 0.0, 0.0).text

    def finish(self) -> WordPath:
        """End the utterance and return the remaining words.

        Raises:
            ValueError: The stream was finished before.
        """
        (best,) = self.n_best(1)
        self._finished = True
        return self._align(best)

    def search_through(self, logits: np.ndarray) -> np.ndarray:
        """Like `advance`, but no words become final; returns the log-probabilities of the symbols."""
        if self._finished:
            raise ValueError("The stream was finished. Begin another one.")
        logs = log_softmax(logits, self._options.columns)
        self._make_room(len(logs) * self._options.width)
        cache = self._options.cache()
        floor, threshold = self._options.token_floor, self._options.beam_threshold
        kernel.run(self._models, cache, logs, self._beam, floor, threshold, self._recombine)
        self._options.caches.append(cache)
        self._frames += len(logs)
        return logs

    def n_best(self, n: int) -> list[WordHypothesis]:
        """The best texts of the part that is not final, if the utterance ended here; from one to `n`."""
        scores = np.empty((int(self._beam.counts[1]), 2))
        kernel.finish(self._models, self._beam, scores)
        members = self._beam.beams[self._beam.counts[2]]
        sums: dict[int, tuple[float, float]] = {}  # by prefix, without a separator at its end
        for i, (path, score) in enumerate(scores.tolist()):
            prefix = int(members[i])
            if self._beam.tree[prefix, kernel.ENTRY] == kernel.SEPARATOR_ENDS:
                prefix = int(self._beam.tree[prefix, kernel.PARENT])
            if score > -np.inf:
                before = sums.get(prefix, (-np.inf, -np.inf))
                sums[prefix] = float(np.logaddexp(before[0], path)), float(np.logaddexp(before[1], score))
        by_text: dict[str, WordHypothesis] = {}
        for prefix, (path, score) in sorted(sums.items(), key=lambda item: -item[1][1]):
            hypothesis = self._hypothesis(prefix, score, path)
            by_text.setdefault(hypothesis.text, hypothesis)
            if len(by_text) == n:
                break
        return list(by_text.values()) or [self._hypothesis(self._allowed_prefix(self._best), -np.inf, -np.inf)]

    @property
    def _best(self) -> int:
        """The best prefix so far."""
        _, size, now = self._beam.counts
        members, paths = self._beam.beams[now, :size], self._beam.paths[now, :size]
        return int(members[(np.logaddexp(paths[:, 0], paths[:, 1]) + self._beam.total[members]).argmax()])

    def _allowed_prefix(self, prefix: int) -> int:
        while prefix and not kernel.may_end(self._models, self._beam.tree[prefix]):
            prefix = int(self._beam.tree[prefix, kernel.PARENT])
        return prefix

    def _hypothesis(self, prefix: int, score: float, ctc: float) -> WordHypothesis:
        """The words of a prefix after the last final word, without an incomplete word."""
        tree, ids, words, lengths, length = self._beam.tree, [], [], [], 0
        while prefix:
            symbol, entry = int(tree[prefix, kernel.SYMBOL]), int(tree[prefix, kernel.ENTRY])
            if entry >= 0 or entry == kernel.UNKNOWN_ENDS:
                lengths.append(length)
                length = 0
                words.append(self._word(entry))
            if entry != kernel.SEPARATOR_ENDS:
                length += bool(words)
                ids += [symbol] if words else []
            prefix = int(tree[prefix, kernel.PARENT])
        lengths = [*lengths[1:], length] if words else []
        words.reverse()
        return WordHypothesis(
            tuple(reversed(ids)), " ".join(words), score, ctc, tuple(words), tuple(reversed(lengths))
        )  # fmt: skip

    def _word(self, entry: int) -> str:
        if entry == kernel.UNKNOWN_ENDS:
            return self._options.unknown_word or ""
        return self._options.words[self._models.entries[lexicon_models.WORD, entry]]

    def _finalize(self, prefix: int) -> WordPath:
        """Make the words of a prefix final."""
        final, best = self._hypothesis(prefix, 0.0, 0.0), self._hypothesis(self._best, 0.0, 0.0)
        if best.words[: len(final.words)] != final.words:
            best = final
        path = self._align(best)
        symbols, count = sum(final.lengths), len(final.words)
        if count:
            self._begin = int(path.end_frames[symbols - 1])
        self._compact(prefix)
        logs = np.concatenate(self._logs)
        dropped = max(0, self._begin - _CONTEXT - self._first)
        self._logs, self._first = [logs[dropped:].copy()], self._first + dropped
        values: Any = (path.ids, path.start_frames, path.end_frames, path.confidences)
        ids, starts, ends, confidences = (part[:symbols] for part in values)
        return WordPath(ids, starts, ends, confidences, path.words[:count], path.lengths[:count])

    def _align(self, hypothesis: WordHypothesis) -> WordPath:
        """Align words to the frames of the utterance."""
        logs = np.concatenate([*self._logs, np.zeros((0, self._options.columns))])
        required = required_frames(hypothesis.ids) + (len(hypothesis.words) if self._options.separated else 0)
        begin = max(self._first, min(self._begin, self._frames - required))
        path = self._options.align(logs[begin - self._first :], hypothesis)
        frames = path.start_frames + np.int32(begin), path.end_frames + np.int32(begin)
        return WordPath(path.ids, *frames, path.confidences, path.words, path.lengths)

    def _compact(self, root: int) -> None:
        kernel.compact(self._beam, root, np.full(int(self._beam.counts[0]), -1, np.int32))

    def _make_room(self, more: int) -> None:
        beam = self._beam
        if int(beam.counts[0]) + more > len(beam.tree):
            self._compact(0)
        count = int(beam.counts[0])
        if 2 * count + more > len(beam.tree):  # grows here, so that it is not compacted every time
            grown = [np.empty((2 * (count + more), *part.shape[1:]), part.dtype) for part in beam[:5]]
            for new, old in zip(grown, beam[:5], strict=True):
                new[:count] = old[:count]
            self._beam = kernel.Beam(*grown, *beam[5:])  # type: ignore[call-arg]


def _empty_path() -> WordPath:
    empty = np.zeros(0, np.int32)
    return WordPath(empty, empty, empty, np.zeros(0, np.float32), (), empty)
