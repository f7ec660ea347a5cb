"""Command-line options made from declarations, and the parser that refuses what it does not know."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Container, Sequence
from typing import Any, NoReturn

from speechrnn.cli.declared import Option, Type, declaration

_METAVARS: dict[Callable[[str], Any], str] = {int: "N", float: "X", str: "TEXT"}
_TABLE, _TABLE_OPTIONS = "table", "speechrnn.signals.options:TableOptions"
"""The argument of functions that read tables, and where its own options are declared."""


class Parser(argparse.ArgumentParser):
    """A parser with short errors, whole option names only, and a suggestion for a name it does not know."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse a whole command line; what is left over is an error."""
        found, rest = self.parse_known_args(args, namespace)
        for word in rest:
            if word.startswith("-"):
                name = word.partition("=")[0]
                self.error(f"unknown option {name}.{_near(name, self._option_string_actions)}")
        if rest:
            self.error(f"unexpected argument {rest[0]!r}.")
        return found

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit 2."""
        print(f"{self.prog}: error: {message}\nSee `{self.prog} --help`.", file=sys.stderr)
        sys.exit(2)


def add_options(
    parser: argparse.ArgumentParser, reference: str, *, title: str, prefix: str, skip: Container[str] = ()
) -> None:
    """Add a group with every option that a dataclass or a function declares.

    Args:
        parser: Where to add them.
        reference: Module and name, such as `speechrnn.training.options:TrainingOptions`.
        title: Heading of the group in the help.
        prefix: Put before a name that the parser has already, as in `--features-seed`.
        skip: Names that are no options of the command line.

    Raises:
        TypeError: An option is of a type that the command line cannot say.
    """
    found = declaration(reference)
    group = parser.add_argument_group(title, found.summary)
    for option in found.options:
        if option.name in skip:
            continue
        if option.name == _TABLE:
            add_options(parser, _TABLE_OPTIONS, title="tables", prefix=_TABLE)
            continue
        if option.type is None:
            raise TypeError(f"{reference}: `{option.name}` cannot be said on a command line. Skip it, or annotate it.")
        flag = "--" + option.name.replace("_", "-")
        if flag in parser._option_string_actions:
            flag = f"--{prefix}-{flag[2:]}"
        group.add_argument(flag, **_keywords(option, option.type), dest=_destination(reference, option.name))


def collect(arguments: argparse.Namespace, reference: str) -> dict[str, Any]:
    """The options of a declaration that were given, under their own names; the others keep their defaults."""
    given = {}
    for option in declaration(reference).options:
        name = _destination(reference, option.name)
        if option.name == _TABLE and (nested := collect(arguments, _TABLE_OPTIONS)):
            given[_TABLE] = nested
        if hasattr(arguments, name):
            value = getattr(arguments, name)
            given[option.name] = tuple(value) if isinstance(value, list) else value
    return given


def _destination(reference: str, name: str) -> str:
    return f"{reference}.{name}"


def _keywords(option: Option, kind: Type) -> dict[str, Any]:
    """What argparse needs; the default stays where it is declared, so only what was given is passed on."""
    text = option.help.replace("%", "%%")
    if not option.required and option.default is not Option.UNKNOWN:
        text = f"{text} (default: {_words(option.default)})".strip()
    keywords: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS}
    if kind.convert is bool:
        return {**keywords, "action": argparse.BooleanOptionalAction}
    keywords["required"] = option.required
    keywords["type"] = _or_none(kind.convert) if kind.optional else kind.convert
    if kind.count is not None:
        keywords["nargs"] = kind.count
    if kind.choices:
        keywords["choices"] = [*kind.choices, None] if kind.optional else kind.choices
        keywords["metavar"] = "{" + ",".join(map(str, kind.choices)) + "}"
    else:
        keywords["metavar"] = _METAVARS.get(kind.convert, "VALUE")
    return keywords


def _or_none(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(word: str) -> Any:
        return None if word == "none" else convert(word)

    converted.__name__ = convert.__name__  # argparse names the type in its errors
    return converted


def _words(value: Any) -> str:
    """A default as it would be written on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return " ".join(map(_words, value)) or "none"
    return "none" if value is None else str(value)


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, [n for n in known if n.startswith("--")], n=1)
    return f" Did you mean {near[0]}?" if near else ""
