"""Greet somebody."""

from collections.abc import Sequence

from speechrnn.cli.verb import Verb


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("hello", hello)


def hello(name: str, /, *, loud: bool = False) -> int:
    """Greet somebody.

    Args:
        name: Whom to greet.
        loud: In upper case.
    """
    greeting = f"hello, {name}"
    print(greeting.upper() if loud else greeting)
    return 0
