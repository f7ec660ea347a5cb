"""A search for words through logits that come piece by piece; see `speechrnn.decoding.lexicon`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechrnn.decoding import lexicon_models, viterbi
from speechrnn.decoding import lexicon_search as kernel
from speechrnn.decoding.alignment import BLANK_PENALTY, log_softmax, path_of, required_frames, spread
from speechrnn.decoding.beam import WordHypothesis
from speechrnn.decoding.best_path import WordPath

_LEAST = -1e6
_MEMORY_BITS = 22
"""4 million places, 48 MB if all are written to."""
_KEPT = 64
"""Frames that are kept of what is final, should the rest need more than is left."""
_MOST_FRAMES = 3000
"""Frames after which the best words become final even if others are possible."""


@dataclass(frozen=True, eq=False)
class Space:
    """What is searched through, and how; `speechrnn.decoding.lexicon.LexiconSearch` makes it and says what is what."""

    models: lexicon_models.Models
    columns: int
    """Of the logits."""
    words: tuple[str, ...]
    unknown_word: str | None
    separator: int | None
    separated: bool
    width: int
    token_floor: float
    beam_threshold: float
    memories: list[lexicon_models.Memory] = field(default_factory=list)
    """What the language model's look-ahead has found in earlier searches; none that is under way shares one."""

    def memory(self) -> lexicon_models.Memory:
        """One of the memories, or a new one."""
        try:
            return self.memories.pop()
        except IndexError:
            # A state may fill an eighth of it; large enough that it seldom has to be emptied.
            least, all_states = 8 * self.models.trie.shape[1], 8 * int(self.models.whole[lexicon_models.NODES])
            size = 1 << max(least.bit_length(), min(_MEMORY_BITS, all_states.bit_length()))
            return lexicon_models.Memory(np.zeros(size, np.int64), np.zeros(size, np.float32), np.zeros(1, np.int64))

    def aligned(self, logs: np.ndarray, hypothesis: WordHypothesis, *, whole: bool = False) -> WordPath:
        """The frames of words.

        Args:
            logs: float64 `(frames, columns)`, log probabilities.
            hypothesis: The words; there are frames enough for their symbols.
            whole: Whether nothing follows. Then phones may take the frames about them, see `BLANK_PENALTY`; before
                the next word is known they could take its frames as well.
        """
        logs = np.maximum(logs, _LEAST)
        ids, lengths = np.array(hypothesis.ids, np.int32), np.array(hypothesis.lengths, np.int32)
        edges = np.concatenate([[0], np.cumsum(lengths)])
        between, inner = np.zeros(len(ids) + 1, np.int64), np.ones(len(ids), bool)
        columns, spelled = logs, ids
        if self.separator is not None:
            blank_or_separator = logs.shape[1]
            columns = np.column_stack([logs, np.maximum(logs[:, 0], logs[:, self.separator])])
            between[edges] = blank_or_separator
            if self.separated and len(lengths) > 1:
                places = edges[1:-1]
                spelled = np.insert(ids, places, self.separator)
                inner = np.insert(inner, places, False)
                between = np.insert(between, places, blank_or_separator)
        path = path_of(logs, spelled, viterbi.best_states(columns, spelled, between))
        if whole and self.separator is None:
            path = spread(path, logs, BLANK_PENALTY)
        values: Any = (path.ids, path.start_frames, path.end_frames, path.confidences)
        ids, starts, stops, certain = (part[inner] for part in values)
        return WordPath(ids, starts, stops, certain, hypothesis.words, lengths)


class LexiconStream:
    """One utterance on its way.

    Words become final when all that the search keeps begins with them; their times are then found by aligning the best
    text so far. `LexiconSearch.stream` begins one.

    Args:
        space: What is searched through.
        recombine: Of prefixes that whatever follows scores alike, keep the best one: the width is not spent on
            differences between words long past, and words become final sooner. `n_best` has fewer texts then.

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

    def __init__(self, space: Space, *, recombine: bool = True) -> None:
        self._space, self._models, self._recombine = space, space.models, recombine
        width, most = space.width, int(self._models.whole[lexicon_models.ROOM])
        room = 4 * width + 256
        tree = np.empty((room, 9), np.int32)
        tree[0] = [-1, -1, -1, -1, lexicon_models.ROOT, kernel.OPEN, self._models.whole[lexicon_models.BEGIN], 0, 0]
        base, added, hope, place = np.zeros(room), np.zeros(room), np.zeros(room), np.zeros(room, np.int32)
        paths = np.full((2, width, 5), -np.inf)
        paths[0, 0, 0] = 0.0
        candidates = 3 * width + most
        self._beam = kernel.Beam(
            tree, base, added, hope, place, np.zeros((2, width), np.int32), paths,
            np.empty((candidates, 7), np.int32), np.empty((candidates, 3)),
            np.zeros((2, 1 << int(2 * candidates - 1).bit_length()), np.int64),
            np.full((2, width), -1, np.int32), np.array([1, 1, 0]),
            np.empty(candidates), np.empty(width, np.int64), np.empty(space.columns, bool),
            np.empty(space.columns, np.int64),
        )  # fmt: skip
        memory = space.memory()
        hope[0] = kernel.begins(self._models, memory, tree[0])
        space.memories.append(memory)
        self._logs: list[np.ndarray] = []
        """Frames whose words are not final, and some before them."""
        self._first = self._frames = 0
        """The first frame in `_logs`, and all frames so far."""
        self._begin = 0
        """Where what is not final begins."""
        self._finished = False

    def advance(self, logits: np.ndarray) -> WordPath:
        """Search through more logits.

        Args:
            logits: float `(frames, vocabulary)`, as many or few frames as there are.

        Returns:
            The words that have become final, their frames counted from the beginning.

        Raises:
            ValueError: The stream was finished, or `logits` are not `(frames, vocabulary)` numbers.
        """
        self._logs.append(self.search_through(logits))
        settled = kernel.common(self._beam) if len(logits) else 0
        if self._frames - self._begin > _MOST_FRAMES:
            settled = int(self._best)
        while settled and self._beam.tree[settled, kernel.NODE] not in (lexicon_models.ROOT, kernel.ENDED):
            settled = int(self._beam.tree[settled, kernel.PARENT])
        return self._settle(settled) if settled else _nothing()

    @property
    def partial(self) -> str:
        """The words that are likely so far and not final."""
        return self._hypothesis(self._best, 0.0, 0.0).text

    def finish(self) -> WordPath:
        """The words that are left, and stay as they are: nothing follows.

        Raises:
            ValueError: It was finished before.
        """
        (best,) = self.n_best(1)
        self._finished = True
        return self._placed(best)

    def search_through(self, logits: np.ndarray) -> np.ndarray:
        """As `advance`, without anything becoming final; gives the log probabilities of the symbols."""
        if self._finished:
            raise ValueError("The stream was finished. Begin another one.")
        logs = log_softmax(logits, self._space.columns)
        self._make_room(len(logs) * self._space.width)
        memory = self._space.memory()
        floor, threshold = self._space.token_floor, self._space.beam_threshold
        kernel.run(self._models, memory, logs, self._beam, floor, threshold, self._recombine)
        self._space.memories.append(memory)
        self._frames += len(logs)
        return logs

    def n_best(self, n: int) -> list[WordHypothesis]:
        """The best texts of what is not final, should the utterance end here; at least one, at most `n`."""
        scores = np.empty((int(self._beam.counts[1]), 2))
        kernel.finish(self._models, self._beam, scores)
        members = self._beam.beams[self._beam.counts[2]]
        sums: dict[int, tuple[float, float]] = {}  # by prefix without a separator at its end
        for i, (path, score) in enumerate(scores.tolist()):
            prefix = int(members[i])
            if self._beam.tree[prefix, kernel.ENTRY] == kernel.SEPARATES:
                prefix = int(self._beam.tree[prefix, kernel.PARENT])
            if score > -np.inf:
                before = sums.get(prefix, (-np.inf, -np.inf))
                sums[prefix] = float(np.logaddexp(before[0], path)), float(np.logaddexp(before[1], score))
        found: dict[str, WordHypothesis] = {}
        for prefix, (path, score) in sorted(sums.items(), key=lambda item: -item[1][1]):
            hypothesis = self._hypothesis(prefix, score, path)
            found.setdefault(hypothesis.text, hypothesis)
            if len(found) == n:
                break
        return list(found.values()) or [self._hypothesis(self._allowed_beginning(self._best), -np.inf, -np.inf)]

    @property
    def _best(self) -> int:
        """The prefix that is best so far."""
        _, size, now = self._beam.counts
        members, paths = self._beam.beams[now, :size], self._beam.paths[now, :size]
        return int(members[(np.logaddexp(paths[:, 0], paths[:, 1]) + self._beam.added[members]).argmax()])

    def _allowed_beginning(self, prefix: int) -> int:
        while prefix and not kernel.may_end(self._models, self._beam.tree[prefix]):
            prefix = int(self._beam.tree[prefix, kernel.PARENT])
        return prefix

    def _hypothesis(self, prefix: int, score: float, ctc: float) -> WordHypothesis:
        """What a prefix says since the last final word; a word that has not ended is left out."""
        tree, ids, words, lengths, length = self._beam.tree, [], [], [], 0
        while prefix:
            symbol, entry = int(tree[prefix, kernel.SYMBOL]), int(tree[prefix, kernel.ENTRY])
            if entry >= 0 or entry == kernel.UNKNOWN_ENDS:
                lengths.append(length)
                length = 0
                words.append(self._word(entry))
            if entry != kernel.SEPARATES:
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
            return self._space.unknown_word or ""
        return self._space.words[self._models.entries[lexicon_models.WORD, entry]]

    def _settle(self, prefix: int) -> WordPath:
        """Make what ends at a prefix final."""
        final, best = self._hypothesis(prefix, 0.0, 0.0), self._hypothesis(self._best, 0.0, 0.0)
        if best.words[: len(final.words)] != final.words:
            best = final
        placed = self._placed(best)
        symbols, count = sum(final.lengths), len(final.words)
        if count:
            self._begin = int(placed.end_frames[symbols - 1])
        self._compact(prefix)
        held = np.concatenate(self._logs)
        dropped = max(0, self._begin - _KEPT - self._first)
        self._logs, self._first = [held[dropped:].copy()], self._first + dropped
        values: Any = (placed.ids, placed.start_frames, placed.end_frames, placed.confidences)
        ids, starts, stops, certain = (part[:symbols] for part in values)
        return WordPath(ids, starts, stops, certain, placed.words[:count], placed.lengths[:count])

    def _placed(self, hypothesis: WordHypothesis) -> WordPath:
        """Words with their frames in all of the utterance."""
        logs = np.concatenate([*self._logs, np.zeros((0, self._space.columns))])
        least = required_frames(hypothesis.ids) + (len(hypothesis.words) if self._space.separated else 0)
        begin = max(self._first, min(self._begin, self._frames - least))
        path = self._space.aligned(logs[begin - self._first :], hypothesis)
        frames = path.start_frames + np.int32(begin), path.end_frames + np.int32(begin)
        return WordPath(path.ids, *frames, path.confidences, path.words, path.lengths)

    def _compact(self, root: int) -> None:
        kernel.compact(self._beam, root, np.full(int(self._beam.counts[0]), -1, np.int32))

    def _make_room(self, more: int) -> None:
        beam = self._beam
        if int(beam.counts[0]) + more > len(beam.tree):
            self._compact(0)
        count = int(beam.counts[0])
        if 2 * count + more > len(beam.tree):  # so that it is not compacted every time
            grown = [np.empty((2 * (count + more), *part.shape[1:]), part.dtype) for part in beam[:5]]
            for new, old in zip(grown, beam[:5], strict=True):
                new[:count] = old[:count]
            self._beam = kernel.Beam(*grown, *beam[5:])  # type: ignore[call-arg]


def _nothing() -> WordPath:
    whole = np.zeros(0, np.int32)
    return WordPath(whole, whole, whole, np.zeros(0, np.float32), (), whole)
