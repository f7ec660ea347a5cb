"""Small grammars: what may be said, as expressions of words, and the automaton for them."""

from __future__ import annotations

import re
import textwrap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from speechrnn.faults import suggestion
from speechrnn.text import Vocabulary

_TOKEN = re.compile(r"<[^<>\s]+>|[=;|()\[\]*+]|[^\s=;|()\[\]*+<>]+|[<>]")
_MARKS = frozenset("=;|()[]*+<>")
_MOST_WORDS = 100_000
_MOST_SHOWN = 120
"""Characters of a rule in an error."""
_MOST_STATES, _MOST_CELLS = 500_000, 64_000_000
"""Of an automaton: it may have exponentially more states than its grammar has words."""
_MOST_WORK = 4_000_000
"""Members of the sets of states that are its states: some seconds."""


@dataclass(frozen=True)
class Word:
    """One word."""

    word: str


@dataclass(frozen=True)
class Sequence:
    """Expressions one after the other; none is the empty text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Choice:
    """One of several expressions."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """An expression `least` (0 or 1) times or more."""

    part: Expression
    least: int = 1


Expression = Word | Sequence | Choice | Repeat


def phrase(text: str) -> Sequence:
    """The words of a text in order.

    Raises:
        ValueError: There is none.
    """
    words = text.split()
    if not words:
        raise ValueError("A word or sentence that is allowed must not be empty. Received an empty one.")
    return Sequence(tuple(map(Word, words)))


def words_of(expression: Expression) -> Iterator[str]:
    """Every word in an expression."""
    if isinstance(expression, Word):
        yield expression.word
    elif isinstance(expression, Repeat):
        yield from words_of(expression.part)
    else:
        for part in expression.parts:
            yield from words_of(part)


def parse(text: str) -> Expression:
    """Read a grammar.

    Rules are `name = expression`, separated by `;`, and the first one says what is allowed. An expression is words in
    sequence, `a | b` one of two, `( )` a group, `[ ]` what may be left out, `*` and `+` after a word or group any
    number of times (`+`: at least once), and `<name>` another rule. A single expression may stand without `name =`.
    What follows `#` in a line is a comment.

    Raises:
        ValueError: The grammar cannot be read, names a rule that is not there, a rule needs itself, groups lie
            within one another hundreds deep, or there are over 100,000 words once each rule stands where it is used.

    Example:
    >>> parse("yes | <no> ; no = no+")
    Choice(parts=(Word(word='yes'), Repeat(part=Word(word='no'), least=1)))
    """
    tokens = _TOKEN.findall("\n".join(line.partition("#")[0] for line in text.splitlines()))
    named: dict[str, list[str]] = {}
    for rule in _split(tokens):
        name, body = (rule[0], rule[2:]) if rule[1:2] == ["="] else ("", rule)
        if name in named or "=" in body or (name and name in _MARKS):
            raise _fault(f"expects `name = expression;` with a new name for each rule. Received: `{_beginning(rule)}`")
        named[name] = body
    if not named:
        raise _fault("holds no rule")
    try:
        first, *_ = [_Reader(named).rule(name, ()) for name in named]
    except RecursionError as error:
        raise _fault("has too many groups or rules within one another") from error
    return first


def _split(tokens: list[str]) -> Iterator[list[str]]:
    rule: list[str] = []
    for token in [*tokens, ";"]:
        if token != ";":
            rule.append(token)
        elif rule:
            yield rule
            rule = []


class _Reader:
    """Recursive descent over the tokens of each rule."""

    def __init__(self, rules: dict[str, list[str]]) -> None:
        self._rules = rules
        self._words = 0

    def rule(self, name: str, within: tuple[str, ...]) -> Expression:
        if name not in self._rules:
            rules = suggestion(name, filter(None, self._rules), "Rules with a name").removesuffix(".")
            raise _fault(f"has no rule `{name}`.{rules}")
        if name in within:
            raise _fault(f"has a rule `{name}` that needs itself. Repeat with * or + instead")
        tokens = deque(self._rules[name])
        found = self._choice(tokens, (*within, name))
        if tokens:
            raise self._unexpected(tokens[0], (name,))
        return found

    def _unexpected(self, token: str, within: tuple[str, ...]) -> ValueError:
        return _fault(f"does not expect `{token}` in `{_beginning(self._rules[within[-1]])}`")

    def _choice(self, tokens: deque[str], within: tuple[str, ...]) -> Expression:
        """Take a choice from the tokens of the rule that stands last in `within`."""
        parts = [self._sequence(tokens, within)]
        while tokens and tokens[0] == "|":
            tokens.popleft()
            parts.append(self._sequence(tokens, within))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self, tokens: deque[str], within: tuple[str, ...]) -> Expression:
        parts: list[Expression] = []
        while tokens and tokens[0] not in ("|", ")", "]"):
            part = self._item(tokens, within)
            while tokens and tokens[0] in ("*", "+"):
                part = Repeat(part, least=int(tokens.popleft() == "+"))
            parts.append(part)
        if not parts:
            rule = self._rules[within[-1]]
            raise _fault(f"expects words. Received none at item {len(rule) - len(tokens) + 1} of `{_beginning(rule)}`")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self, tokens: deque[str], within: tuple[str, ...]) -> Expression:
        token = tokens.popleft()
        if token in ("(", "["):
            part = self._choice(tokens, within)
            if not tokens or tokens.popleft() != {"(": ")", "[": "]"}[token]:
                raise _fault(f"lacks the end of a group `{token}` in `{_beginning(self._rules[within[-1]])}`")
            return part if token == "(" else Choice((part, Sequence(())))
        if token[0] == "<" and len(token) > 1:
            return self.rule(token[1:-1], within)
        if token in _MARKS:
            raise self._unexpected(token, within)
        self._words += 1
        if self._words > _MOST_WORDS:
            raise _fault(
                f"has over {_MOST_WORDS:,} words once each rule stands where it is used. "
                "Use fewer rules that use others several times"
            )
        return Word(token)


def _beginning(tokens: list[str]) -> str:
    """A rule in an error, which may be a whole file that is no grammar."""
    return textwrap.shorten(" ".join(tokens), _MOST_SHOWN, placeholder=" ...")


def _fault(what: str) -> ValueError:
    return ValueError(f"The grammar {what}.")


def _too_large(most: int) -> ValueError:
    return _fault(
        f"needs an automaton of over {most:,} states, or one that takes too long. Use fewer words, or choices that "
        "differ in their first words"
    )


class _Machine:
    """A nondeterministic automaton, every word of which is spelled with a space before it (Thompson 1968)."""

    def __init__(self, vocabulary: Vocabulary, space: int) -> None:
        self._vocabulary, self._space = vocabulary, space
        self.symbols: list[tuple[int, int] | None] = []
        """The symbol that leads on from each state, and where to."""
        self.free: list[list[int]] = []
        """States that can be gone to without a symbol."""

    def state(self) -> int:
        self.symbols.append(None)
        self.free.append([])
        return len(self.free) - 1

    def add(self, expression: Expression, start: int) -> int:
        """Add an expression after a state; gives the state after it."""
        if isinstance(expression, Word):
            for symbol in self._spelled(expression.word):
                start = self._step(start, symbol)
            return start
        if isinstance(expression, Sequence):
            for part in expression.parts:
                start = self.add(part, start)
            return start
        end = self.state()
        if isinstance(expression, Choice):
            texts = {words for part in expression.parts if (words := _words_alone(part))}
            self._add_texts(sorted(texts), start, end)
            for part in expression.parts:
                if not _words_alone(part):
                    self.free[self.add(part, start)].append(end)
            return end
        begin = self.state()
        self.free[start].append(begin)
        after = self.add(expression.part, begin)
        self.free[after] += [begin, end]
        if expression.least == 0:
            self.free[start].append(end)
        return end

    def _spelled(self, word: str) -> tuple[int, ...]:
        return self._space, *self._vocabulary.encode(word)

    def _step(self, start: int, symbol: int) -> int:
        """A state that a symbol leads to from another."""
        after, start_of = self.state(), self.state()
        self.free[start].append(start_of)
        self.symbols[start_of] = symbol, after
        return after

    def _add_texts(self, texts: list[tuple[str, ...]], start: int, end: int) -> None:
        """Add a choice of texts as a tree, which is deterministic: of thousands of words one begins in few states."""
        tree: dict[tuple[int, int], int] = {}
        for words in texts:
            place = start
            for symbol in (symbol for word in words for symbol in self._spelled(word)):
                if (place, symbol) not in tree:
                    tree[place, symbol] = self._step(place, symbol)
                place = tree[place, symbol]
            self.free[place].append(end)

    def reached(self, states: set[int]) -> frozenset[int]:
        """These states, and those that can be gone to from them without a symbol."""
        found, waiting = set(states), list(states)
        while waiting:
            for other in self.free[waiting.pop()]:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return frozenset(found)


def _words_alone(expression: Expression) -> tuple[str, ...]:
    """The words of a word, or of a sequence of words; none for anything else."""
    if isinstance(expression, Word):
        return (expression.word,)
    if isinstance(expression, Sequence) and all(isinstance(part, Word) for part in expression.parts):
        return tuple(part.word for part in expression.parts if isinstance(part, Word))
    return ()


def determinised(expression: Expression, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The deterministic automaton of an expression: next states, -1 for none, and where a text may end.

    Its states are sets of states of the nondeterministic one (Rabin and Scott 1959); state 0 has the first word's space
    behind it.

    Raises:
        ValueError: There are over 500,000 states, or over 64,000,000 with a column for each symbol.
    """
    size = len(vocabulary)
    most = min(_MOST_STATES, _MOST_CELLS // size)
    space = size if vocabulary.missing(" ") else vocabulary.encode(" ")[0]
    machine = _Machine(vocabulary, space)
    before = machine.state()
    end = machine.add(expression, before)
    nothing = machine.reached({before})

    def steps(states: frozenset[int]) -> dict[int, frozenset[int]]:
        targets: dict[int, set[int]] = {}
        for state in states:
            if (step := machine.symbols[state]) is not None:
                targets.setdefault(step[0], set()).add(step[1])
        return {symbol: machine.reached(found) for symbol, found in targets.items()}

    start = steps(nothing).get(space, frozenset()) | (nothing & {end})  # the empty text may end, a space may not
    numbers, rows, ends = {start: 0}, [], []
    waiting = [start]
    work = 0
    for states in waiting:
        work += len(states)
        if work > _MOST_WORK:
            raise _too_large(most)
        row = np.full(size, -1, np.int32)
        for symbol, found in sorted(steps(states).items()):
            if symbol < size:
                if found not in numbers:
                    if len(numbers) == most:
                        raise _too_large(most)
                    numbers[found] = len(numbers)
                    waiting.append(found)
                row[symbol] = numbers[found]
        rows.append(row)
        ends.append(end in states)
    return np.stack(rows), np.array(ends, np.bool_)
