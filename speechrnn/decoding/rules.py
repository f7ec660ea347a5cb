"""Grammars of allowed texts: parsing of rules, and compilation to an automaton."""

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
_MAX_WORDS = 100_000
_MAX_SHOWN = 120
"""Characters of a rule in an error message."""
_MAX_STATES, _MAX_CELLS = 500_000, 64_000_000
"""Limits of an automaton, which may have exponentially more states than its grammar has words."""
_MAX_WORK = 4_000_000
"""Maximum total size of the sets of states of the subset construction: some seconds."""


@dataclass(frozen=True)
class Word:
    """One word."""

    word: str


@dataclass(frozen=True)
class Sequence:
    """Expressions one after the other; without parts, the empty text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Choice:
    """One of several expressions."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """An expression repeated at least `least` (0 or 1) times."""

    part: Expression
    least: int = 1


Expression = Word | Sequence | Choice | Repeat


def phrase(text: str) -> Sequence:
    """The words of a text in order.

    Raises:
        ValueError: There are no words.
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
    """Parse a grammar.

    Rules are `name = expression`, separated by `;`, and the first one defines the allowed texts. An expression is a
    sequence of words, `a | b` a choice, `( )` a group, `[ ]` an optional part, `*` or `+` after a word or group a
    repetition (`+`: at least once), and `<name>` another rule. A single expression needs no `name =`. `#` begins a
    comment to the end of the line.

    Raises:
        ValueError: The grammar cannot be parsed, refers to a rule that does not exist, has a recursive rule, has groups
            nested hundreds deep, or has over 100,000 words after rules are expanded.

    Example:
    >>> parse("yes | <no> ; no = no+")
    Choice(parts=(Word(word='yes'), Repeat(part=Word(word='no'), least=1)))
    """
    tokens = _TOKEN.findall("\n".join(line.partition("#")[0] for line in text.splitlines()))
    rules: dict[str, list[str]] = {}
    for rule in _split(tokens):
        name, body = (rule[0], rule[2:]) if rule[1:2] == ["="] else ("", rule)
        if name in rules or "=" in body or (name and name in _MARKS):
            raise _fault(f"expects `name = expression;` with a new name for each rule. Received: `{_shorten(rule)}`")
        rules[name] = body
    if not rules:
        raise _fault("holds no rule")
    try:
        first, *_ = [_Parser(rules).rule(name, ()) for name in rules]
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


class _Parser:
    """Recursive descent parser of the tokens of each rule."""

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
        expression = self._choice(tokens, (*within, name))
        if tokens:
            raise self._unexpected(tokens[0], (name,))
        return expression

    def _unexpected(self, token: str, within: tuple[str, ...]) -> ValueError:
        return _fault(f"does not expect `{token}` in `{_shorten(self._rules[within[-1]])}`")

    def _choice(self, tokens: deque[str], within: tuple[str, ...]) -> Expression:
        """Parse a choice; the last name in `within` is that of the rule."""
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
            raise _fault(f"expects words. Received none at item {len(rule) - len(tokens) + 1} of `{_shorten(rule)}`")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self, tokens: deque[str], within: tuple[str, ...]) -> Expression:
        token = tokens.popleft()
        if token in ("(", "["):
            part = self._choice(tokens, within)
            if not tokens or tokens.popleft() != {"(": ")", "[": "]"}[token]:
                raise _fault(f"lacks the end of a group `{token}` in `{_shorten(self._rules[within[-1]])}`")
            return part if token == "(" else Choice((part, Sequence(())))
        if token[0] == "<" and len(token) > 1:
            return self.rule(token[1:-1], within)
        if token in _MARKS:
            raise self._unexpected(token, within)
        self._words += 1
        if self._words > _MAX_WORDS:
            raise _fault(
                f"has over {_MAX_WORDS:,} words once each rule stands where it is used. "
                "Use fewer rules that use others several times"
            )
        return Word(token)


def _shorten(tokens: list[str]) -> str:
    """The beginning of a rule for an error message; a file that is not a grammar may be one long rule."""
    return textwrap.shorten(" ".join(tokens), _MAX_SHOWN, placeholder=" ...")


def _fault(what: str) -> ValueError:
    return ValueError(f"The grammar {what}.")


def _too_large(limit: int) -> ValueError:
    return _fault(
        f"needs an automaton of over {limit:,} states, or one that takes too long. Use fewer words, or choices that "
        "differ in their first words"
    )


class _Nfa:
    """Nondeterministic automaton (Thompson 1968), in which every word is spelled with a space before it."""

    def __init__(self, vocabulary: Vocabulary, space: int) -> None:
        self._vocabulary, self._space = vocabulary, space
        self.symbols: list[tuple[int, int] | None] = []
        """The symbol that leaves each state, and the next state."""
        self.epsilon: list[list[int]] = []
        """Transitions without a symbol."""

    def state(self) -> int:
        self.symbols.append(None)
        self.epsilon.append([])
        return len(self.epsilon) - 1

    def add(self, expression: Expression, start: int) -> int:
        """Add an expression after a state; returns the state after it."""
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
            texts = {words for part in expression.parts if (words := _plain_words(part))}
            self._add_texts(sorted(texts), start, end)
            for part in expression.parts:
                if not _plain_words(part):
                    self.epsilon[self.add(part, start)].append(end)
            return end
        begin = self.state()
        self.epsilon[start].append(begin)
        after = self.add(expression.part, begin)
        self.epsilon[after] += [begin, end]
        if expression.least == 0:
            self.epsilon[start].append(end)
        return end

    def _spelled(self, word: str) -> tuple[int, ...]:
        return self._space, *self._vocabulary.encode(word)

    def _step(self, start: int, symbol: int) -> int:
        """Add a transition by a symbol; returns the state after it."""
        after, source = self.state(), self.state()
        self.epsilon[start].append(source)
        self.symbols[source] = symbol, after
        return after

    def _add_texts(self, texts: list[tuple[str, ...]], start: int, end: int) -> None:
        """Add a choice of texts as a deterministic prefix tree, so that thousands of words need few states."""
        tree: dict[tuple[int, int], int] = {}
        for words in texts:
            state = start
            for symbol in (symbol for word in words for symbol in self._spelled(word)):
                if (state, symbol) not in tree:
                    tree[state, symbol] = self._step(state, symbol)
                state = tree[state, symbol]
            self.epsilon[state].append(end)

    def closure(self, states: set[int]) -> frozenset[int]:
        """The epsilon closure of states."""
        reached, queue = set(states), list(states)
        while queue:
            for other in self.epsilon[queue.pop()]:
                if other not in reached:
                    reached.add(other)
                    queue.append(other)
        return frozenset(reached)


def _plain_words(expression: Expression) -> tuple[str, ...]:
    """The words of a word or a sequence of words; empty for other expressions."""
    if isinstance(expression, Word):
        return (expression.word,)
    if isinstance(expression, Sequence) and all(isinstance(part, Word) for part in expression.parts):
        return tuple(part.word for part in expression.parts if isinstance(part, Word))
    return ()


def determinize(expression: Expression, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The deterministic automaton of an expression: next states (-1: none), and whether a text may end.

    Its states are sets of states of the nondeterministic one (Rabin and Scott 1959); state 0 is after the space of the
    first word.

    Raises:
        ValueError: There are over 500,000 states, or over 64,000,000 transitions.
    """
    size = len(vocabulary)
    limit = min(_MAX_STATES, _MAX_CELLS // size)
    space = size if vocabulary.missing(" ") else vocabulary.encode(" ")[0]
    nfa = _Nfa(vocabulary, space)
    before = nfa.state()
    end = nfa.add(expression, before)
    initial = nfa.closure({before})

    def steps(states: frozenset[int]) -> dict[int, frozenset[int]]:
        targets: dict[int, set[int]] = {}
        for state in states:
            if (step := nfa.symbols[state]) is not None:
                targets.setdefault(step[0], set()).add(step[1])
        return {symbol: nfa.closure(following) for symbol, following in targets.items()}

    start = steps(initial).get(space, frozenset()) | (initial & {end})  # an empty text may end, a space may not
    numbers, rows, ends = {start: 0}, [], []
    queue = [start]
    work = 0
    for states in queue:
        work += len(states)
        if work > _MAX_WORK:
            raise _too_large(limit)
        row = np.full(size, -1, np.int32)
        for symbol, following in sorted(steps(states).items()):
            if symbol < size:
                if following not in numbers:
                    if len(numbers) == limit:
                        raise _too_large(limit)
                    numbers[following] = len(numbers)
                    queue.append(following)
                row[symbol] = numbers[following]
        rows.append(row)
        ends.append(end in states)
    return np.stack(rows), np.array(ends, np.bool_)
