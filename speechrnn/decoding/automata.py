"""Automata over characters: grammars of allowed texts, and boosted phrases."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.decoding import rules
from speechrnn.text import Vocabulary


@dataclass(frozen=True, eq=False)
class Boost:
    """Boosted phrases as an automaton that scores each character (Aho and Corasick 1975).

    A phrase is one or more whole words. Its bonus is added character by character, so that the search does not prune
    the phrase before its end; if the text departs from the phrase, the partial bonus is subtracted again.
    """

    next: np.ndarray
    """int32 `(states, characters)`."""
    gain: np.ndarray
    """float64 `(states, characters)`: score of each character."""
    final: np.ndarray
    """float64 `(states,)`: score of the end of the text."""

    @classmethod
    def phrases(cls, vocabulary: Vocabulary, phrases: Iterable[str] | Mapping[str, float], bonus: float = 6.0) -> Boost:
        """Boost phrases.

        Args:
            vocabulary: The model's vocabulary.
            phrases: Words or phrases; or a mapping from phrases to bonuses.
            bonus: Score, in nats, that each occurrence of a phrase adds to a text.

        Raises:
            ValueError: A phrase is empty or has characters that the vocabulary lacks, or a bonus is not finite.
        """
        vocabulary = vocabulary.letters
        bonuses = phrases if isinstance(phrases, Mapping) else dict.fromkeys(phrases, bonus)
        if not np.isfinite([*bonuses.values()]).all():
            raise ValueError(f"The bonus of a phrase must be finite. Received: {dict(bonuses)!r:.100}.")
        patterns = {" " + _checked(phrase, vocabulary, "boosted phrase") + " ": b for phrase, b in bonuses.items()}
        # In a vocabulary without a space a text is one word, whose ends are the only boundaries.
        space = len(vocabulary) if vocabulary.missing(" ") else vocabulary.encode(" ")[0]
        codes = {
            tuple(space if c == " " else vocabulary.encode(c)[0] for c in pattern): b for pattern, b in patterns.items()
        }
        return cls(*_aho_corasick(codes, len(vocabulary), space))


def _checked(phrase: str, vocabulary: Vocabulary, noun: str) -> str:
    """The phrase with single spaces."""
    phrase = " ".join(phrase.split())
    missing = vocabulary.missing(phrase)
    if not phrase or missing:
        problem = f"it has {sorted(missing)}" if missing else "an empty one"
        raise ValueError(
            f"A {noun} must be written with the model's characters {''.join(vocabulary.symbols)!r}. "
            f"Received: {phrase!r}; {problem}. Write it as the model would."
        )
    return phrase


def _aho_corasick(
    patterns: Mapping[tuple[int, ...], float], size: int, space: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions, gains and final gains; state 0 is the start, after a virtual space."""
    columns = max(size, space + 1)
    children: list[dict[int, int]] = [{}]
    partial, complete = [0.0], [0.0]  # bonuses of each node: for the symbols so far, and for phrases that end here
    for pattern, bonus in patterns.items():
        node = 0
        for i, symbol in enumerate(pattern):
            if symbol not in children[node]:
                children[node][symbol] = len(children)
                children.append({})
                partial.append(0.0)
                complete.append(0.0)
            node = children[node][symbol]
            if i < len(pattern) - 1:  # the first symbol, a space, adds nothing
                share = bonus * i / (len(pattern) - 2)
                partial[node] = share if partial[node] == 0.0 else max(partial[node], share)
        complete[node] += bonus
    table = np.zeros((len(children), columns), np.int32)
    fails = [0] * len(children)
    queue = deque([0])
    while queue:
        node = queue.popleft()
        for symbol in range(columns):
            child = children[node].get(symbol)
            other = int(table[fails[node], symbol]) if node else 0
            if child is None:
                table[node, symbol] = other
            else:
                table[node, symbol] = child
                fails[child] = other
                complete[child] += complete[other]
                partial[child] = max(partial[child], partial[other], key=abs)
                queue.append(child)
    start = int(table[0, space])
    order = np.concatenate([[start], np.delete(np.arange(len(table)), start)])  # the state after a space first
    lent, paid = np.array(partial), np.array(complete)
    gain = paid[table] + lent[table] - lent[:, None]
    final = gain[:, space] - lent[table[:, space]]
    renumbered = np.empty(len(order), np.int32)
    renumbered[order] = np.arange(len(order))
    return renumbered[table[order][:, :size]], gain[order][:, :size], final[order]


def _choice(texts: Sequence[str]) -> rules.Choice:
    if not texts:
        raise ValueError("A grammar must allow at least one word or sentence. Received none.")
    return rules.Choice(tuple(map(rules.phrase, texts)))


@dataclass(frozen=True, eq=False)
class Grammar:
    """Deterministic automaton of the allowed texts; state 0 is the start.

    `Grammar.words` allows any sequence of some words, `Grammar.sentences` some texts, and `Grammar.parse` the texts of
    grammar rules.
    """

    next: np.ndarray
    """int32 `(states, characters)`: next states; -1 for a character that is not allowed."""
    ends: np.ndarray
    """bool `(states,)`: whether a text may end."""

    @classmethod
    def words(cls, vocabulary: Vocabulary, words: Sequence[str]) -> Grammar:
        """Allow any sequence of these words or phrases.

        Raises:
            ValueError: There are no words, or one has characters that the vocabulary lacks.
        """
        return cls.compile(vocabulary, rules.Repeat(_choice(words), least=0))

    @classmethod
    def sentences(cls, vocabulary: Vocabulary, sentences: Sequence[str]) -> Grammar:
        """Allow only these texts.

        Raises:
            ValueError: There are no texts, or one has characters that the vocabulary lacks.
        """
        return cls.compile(vocabulary, _choice(sentences))

    @classmethod
    def parse(cls, vocabulary: Vocabulary, text: str) -> Grammar:
        """Allow the texts of the first rule of a grammar; see `speechrnn.decoding.rules.parse`.

        Example:
        >>> vocabulary = Vocabulary(" acdegiklmnoprstu")
        >>> grammar = Grammar.parse(vocabulary, "command = (stop | repeat) [again] | go <to> ; to = to (one | ten)")
        >>> [grammar.allows(vocabulary.encode(text)) for text in ("stop again", "go to ten", "go")]
        [True, True, False]
        """
        return cls.compile(vocabulary, rules.parse(text))

    @classmethod
    def compile(cls, vocabulary: Vocabulary, expression: rules.Expression) -> Grammar:
        """Compile an expression of `speechrnn.decoding.rules`."""
        vocabulary = vocabulary.letters
        for word in rules.words_of(expression):
            _checked(word, vocabulary, "word of a grammar")
        return cls(*rules.determinize(expression, vocabulary))

    def allows(self, ids: Iterable[int]) -> bool:
        """Whether a text, given as indices of its characters, is allowed."""
        state = 0
        for symbol in ids:
            state = int(self.next[state, symbol])
            if state < 0:
                return False
        return bool(self.ends[state])
