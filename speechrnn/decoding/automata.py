"""Automata over a vocabulary's characters: texts that are allowed, and phrases that are made likelier."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.decoding import rules
from speechrnn.text import Vocabulary


@dataclass(frozen=True, eq=False)
class Boost:
    """What each character adds to a text's score on the way through boosted phrases (Aho and Corasick 1975).

    A phrase is whole words. While one is being spelled, its bonus is lent letter by letter, so that the search does
    not drop it before its end; if it breaks off, what was lent is taken back.
    """

    next: np.ndarray
    """int32 `(states, characters)`."""
    gain: np.ndarray
    """float64 `(states, characters)`: what a character adds."""
    final: np.ndarray
    """float64 `(states,)`: what the end of the text adds."""

    @classmethod
    def phrases(cls, vocabulary: Vocabulary, phrases: Iterable[str] | Mapping[str, float], bonus: float = 6.0) -> Boost:
        """Make phrases likelier.

        Args:
            vocabulary: Of the model.
            phrases: Words or phrases; or phrases with a bonus each.
            bonus: Added to the score of a text for each of them in it, in nats.

        Raises:
            ValueError: A phrase is empty or has characters that the vocabulary lacks, or a bonus is not finite.
        """
        vocabulary = vocabulary.letters
        given = phrases if isinstance(phrases, Mapping) else dict.fromkeys(phrases, bonus)
        if not np.isfinite([*given.values()]).all():
            raise ValueError(f"The bonus of a phrase must be finite. Received: {dict(given)!r:.100}.")
        patterns = {" " + _written(phrase, vocabulary, "boosted phrase") + " ": b for phrase, b in given.items()}
        # Without a space there is one word a text, and its ends alone are boundaries.
        space = len(vocabulary) if vocabulary.missing(" ") else vocabulary.encode(" ")[0]
        codes = {
            tuple(space if c == " " else vocabulary.encode(c)[0] for c in pattern): b for pattern, b in patterns.items()
        }
        return cls(*_aho_corasick(codes, len(vocabulary), space))


def _written(phrase: str, vocabulary: Vocabulary, noun: str) -> str:
    phrase = " ".join(phrase.split())
    lacking = vocabulary.missing(phrase)
    if not phrase or lacking:
        what = f"it has {sorted(lacking)}" if lacking else "an empty one"
        raise ValueError(
            f"A {noun} must be written with the model's characters {''.join(vocabulary.symbols)!r}. "
            f"Received: {phrase!r}; {what}. Write it as the model would."
        )
    return phrase


def _aho_corasick(
    patterns: Mapping[tuple[int, ...], float], size: int, space: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions, gains and final gains; state 0 is that of the start, after a virtual space."""
    columns = max(size, space + 1)
    children: list[dict[int, int]] = [{}]
    lent, paid = [0.0], [0.0]  # of each node: for the letters so far, and for good at a phrase's end
    for pattern, bonus in patterns.items():
        node = 0
        for place, symbol in enumerate(pattern):
            if symbol not in children[node]:
                children[node][symbol] = len(children)
                children.append({})
                lent.append(0.0)
                paid.append(0.0)
            node = children[node][symbol]
            if place < len(pattern) - 1:  # the first symbol, a space, is worth nothing
                share = bonus * place / (len(pattern) - 2)
                lent[node] = share if lent[node] == 0.0 else max(lent[node], share)
        paid[node] += bonus
    table = np.zeros((len(children), columns), np.int32)
    fails = [0] * len(children)
    waiting = deque([0])
    while waiting:
        node = waiting.popleft()
        for symbol in range(columns):
            child = children[node].get(symbol)
            other = int(table[fails[node], symbol]) if node else 0
            if child is None:
                table[node, symbol] = other
            else:
                table[node, symbol] = child
                fails[child] = other
                paid[child] += paid[other]
                lent[child] = max(lent[child], lent[other], key=abs)
                waiting.append(child)
    start = int(table[0, space])
    order = np.concatenate([[start], np.delete(np.arange(len(table)), start)])  # the state after a space first
    worth, given = np.array(lent), np.array(paid)
    gain = given[table] + worth[table] - worth[:, None]
    final = gain[:, space] - worth[table[:, space]]
    renamed = np.empty(len(order), np.int32)
    renamed[order] = np.arange(len(order))
    return renamed[table[order][:, :size]], gain[order][:, :size], final[order]


def _choice(texts: Sequence[str]) -> rules.Choice:
    if not texts:
        raise ValueError("A grammar must allow at least one word or sentence. Received none.")
    return rules.Choice(tuple(map(rules.phrase, texts)))


@dataclass(frozen=True, eq=False)
class Grammar:
    """The texts that are allowed, as a deterministic automaton; state 0 is that of the start.

    `Grammar.words` allows any sequence of some words, `Grammar.sentences` some texts, and `Grammar.parse` what a
    small grammar says.
    """

    next: np.ndarray
    """int32 `(states, characters)`: -1 where a character is not allowed."""
    ends: np.ndarray
    """bool `(states,)`: whether a text may end."""

    @classmethod
    def words(cls, vocabulary: Vocabulary, words: Sequence[str]) -> Grammar:
        """Allow any sequence of these words or phrases.

        Raises:
            ValueError: There is none, or one has characters that the vocabulary lacks.
        """
        return cls.compile(vocabulary, rules.Repeat(_choice(words), least=0))

    @classmethod
    def sentences(cls, vocabulary: Vocabulary, sentences: Sequence[str]) -> Grammar:
        """Allow these texts alone.

        Raises:
            ValueError: There is none, or one has characters that the vocabulary lacks.
        """
        return cls.compile(vocabulary, _choice(sentences))

    @classmethod
    def parse(cls, vocabulary: Vocabulary, text: str) -> Grammar:
        """Allow what the first rule of a grammar says; see `speechrnn.decoding.rules.parse`.

        Example:
        >>> vocabulary = Vocabulary(" acdegiklmnoprstu")
        >>> grammar = Grammar.parse(vocabulary, "command = (stop | repeat) [again] | go <to> ; to = to (one | ten)")
        >>> [grammar.allows(vocabulary.encode(text)) for text in ("stop again", "go to ten", "go")]
        [True, True, False]
        """
        return cls.compile(vocabulary, rules.parse(text))

    @classmethod
    def compile(cls, vocabulary: Vocabulary, expression: rules.Expression) -> Grammar:
        """An automaton for an expression of `speechrnn.decoding.rules`."""
        vocabulary = vocabulary.letters
        for word in rules.words_of(expression):
            _written(word, vocabulary, "word of a grammar")
        return cls(*rules.determinised(expression, vocabulary))

    def allows(self, ids: Iterable[int]) -> bool:
        """Whether a text, as indices of its characters, is allowed."""
        state = 0
        for symbol in ids:
            state = int(self.next[state, symbol])
            if state < 0:
                return False
        return bool(self.ends[state])
