"""Options of the command line, from dataclasses and functions.

The help is the string under a dataclass's field, or the entry in a function's `Args:`. So names, types, defaults and
help texts are in one place, where the option is declared; docstring_parser reads the texts.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from speechrnn.faults import field_docs
from speechrnn.models.kinds import resolve

REQUIRED = dataclasses.MISSING
"""Default of a required option."""

PYTHON_ONLY = ("faults", "progress", "on_progress", "on_error")
"""Arguments of functions that are not options of the command line."""

_RENAMED = {("table", "encoding"): "table_encoding"}
"""New names of options in a dictionary argument whose names would be ambiguous."""
_TEXTS = "normalize_texts"
"""Name of the option `normalize` of texts, which differs from that of features."""
_METAVARS = {"root": "DIR", **dict.fromkeys(("calibration", "keys", "lexicon", "reference"), "FILE")}
"""Placeholders in the help for the values of options that are paths in plain strings."""
_LISTS = (list, tuple, Sequence, Iterable)
SHARED = {
    "calibration": "A calibration of confidences, made by `speechrnn calibrate`.",
    "details": "With --json, write details, too.",
    "json": "Write JSON instead of text.",
    "normalize_texts": "Convert texts to lower case without punctuation.",
    "out": "Where the results are written.",
    "overwrite": "Replace files that exist.",
    "shard": "Do only part I of N; `speechrnn merge OUT` joins all parts.",
}
"""Help of options that several verbs have; a verb's docstring adds to it, after a colon or as a sentence."""


@dataclass(frozen=True)
class Group:
    """Options that a dataclass or a function declares."""

    source: str
    """Module and name, such as `speechrnn.training.options:TrainingOptions`; with the prefix `table=`, the options are
    passed as one argument `table`."""
    title: str = ""
    """Heading in the help; the first line of the source's docstring by default."""
    skip: tuple[str, ...] = ()
    """Names that are not options of the command line, as positional arguments of a function never are."""

    @property
    def options(self) -> list[Option]:
        """The options in the order of their declaration."""
        argument, _, reference = self.source.rpartition("=")
        source = resolve(reference)
        title = self.title or _heading(source)
        positional = () if dataclasses.is_dataclass(source) else _positional(source)
        options = declared(source, title=title, skip=(*self.skip, *PYTHON_ONLY, *positional))
        return [_nested(argument, option) for option in options] if argument else options


@dataclass(frozen=True)
class Option:
    """One argument or option."""

    name: str
    type: Any
    """str, int, float, bool, a Literal, a tuple of one of these, or a union of one of these and None."""
    help: str
    default: Any = REQUIRED
    metavar: str | None = None
    """Placeholder of the value in the help; by default from the type."""
    positional: Literal["one", "many"] | None = None
    title: str = "options"
    """Heading in the help."""
    within: str | None = None
    """The dictionary argument that receives it, if any."""
    key: str = ""
    """Its key in that dictionary, if that is not its name."""

    @property
    def flag(self) -> str:
        """The option as it is written on the command line."""
        return (self.metavar or self.name.upper()) if self.positional else "--" + self.name.replace("_", "-")

    @property
    def usage(self) -> str:
        """The option in the help, with a placeholder for its value."""
        if self.positional:
            return f"{self.flag} ..." if self.positional == "many" else self.flag
        if self.type is bool and not self.default:
            return self.flag
        if self.type is bool or bool in get_args(self.type):
            return f"--[no-]{self.flag[2:]}"
        folder = "DIR" if self.name.endswith(("_dir", "_folder")) else None
        value = _placeholder(self.type, folder or _METAVARS.get(self.name) or self.metavar)
        if value.endswith("}") and self.default is not None and type(None) in get_args(self.type):
            value = f"{value[:-1]},none}}"
        return f"{self.flag} {value}"

    @property
    def default_text(self) -> str:
        """The default as it would be written; "" if there is none to show."""
        if self.default is REQUIRED or self.default is None or self.default is False:
            return ""
        if self.default is True:
            return "on"
        values = self.default if isinstance(self.default, tuple | list) else [self.default]
        return " ".join(map(str, values))


def declared(source: Any, *, title: str = "options", skip: Sequence[str] = ()) -> list[Option]:
    """Read the options of a dataclass or function.

    Args:
        source: The dataclass or function.
        title: Heading of the options in the help.
        skip: Names that are not options.

    Raises:
        TypeError: The type of an option is not supported.
    """
    options = (_fields if dataclasses.is_dataclass(source) else _arguments)(source, title, skip)
    return [
        dataclasses.replace(one, name=_TEXTS, key=one.name) if one.name == "normalize" and one.type is bool else one
        for one in options
    ]


def peek(words: Sequence[str], flag: str) -> str | None:
    """Find the value of an option before the words are parsed; the last one if there are several."""
    value = None
    for index, word in enumerate(words):
        if word == "--":
            break
        if word.startswith(f"{flag}="):
            value = word.partition("=")[2]
        elif word == flag and index + 1 < len(words):
            value = words[index + 1]
    return value


def _heading(source: Any) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(source) or "options").partition("\n")[0].rstrip(".")


def _nested(argument: str, option: Option) -> Option:
    """The option as part of a dictionary argument."""
    name = _RENAMED.get((argument, option.name), option.name)
    return dataclasses.replace(option, name=name, within=argument, key=option.name)


def _positional(function: Callable[..., Any]) -> Iterator[str]:
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.POSITIONAL_OR_KEYWORD:
            yield name


def _fields(source: Any, title: str, skip: Sequence[str]) -> Iterator[Option]:
    hints = get_type_hints(source, include_extras=True)
    for field in dataclasses.fields(source):
        if field.name in skip:
            continue
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        kind, metavar = _type(hints[field.name], f"{source.__name__}.{field.name}")
        yield Option(field.name, kind, field_docs(source).get(field.name, ""), default, metavar, title=title)


def _arguments(source: Callable[..., Any], title: str, skip: Sequence[str]) -> Iterator[Option]:
    doc = docstring_parser.parse(inspect.getdoc(source) or "", docstring_parser.DocstringStyle.GOOGLE)
    descriptions = {name.strip(): entry.description or "" for entry in doc.params for name in entry.arg_name.split(",")}
    shared = SHARED if source.__module__.startswith("speechrnn.cli.") else {}
    arguments = {name: argument for name, argument in inspect.signature(source).parameters.items() if name not in skip}
    annotated = types.SimpleNamespace(__annotations__={name: each.annotation for name, each in arguments.items()})
    hints = get_type_hints(annotated, vars(sys.modules[source.__module__]), include_extras=True)
    for name, argument in arguments.items():
        if argument.kind is argument.VAR_KEYWORD:
            continue
        nested = next((part for part in get_args(hints[name]) if dataclasses.is_dataclass(part)), None)
        if nested is not None:
            yield from (_nested(name, option) for option in _fields(nested, _heading(nested), ()))
            continue
        kind, metavar = _type(hints[name], f"{source.__name__}: `{name}`")
        default = REQUIRED if argument.default is argument.empty else argument.default
        positional: dict[Any, Any] = {argument.POSITIONAL_ONLY: "one", argument.VAR_POSITIONAL: "many"}
        help_text = _joined(shared.get(name, ""), " ".join(descriptions.get(name, "").split()))
        yield Option(name, kind, help_text, default, metavar, positional.get(argument.kind), title)


def _joined(first: str, more: str) -> str:
    """Join a sentence with another one, or with a phrase after a colon."""
    if more and first and not more[0].isupper():
        return f"{first.removesuffix('.')}: {more}"
    return f"{first} {more}".strip()


def _type(hint: Any, what: str) -> tuple[Any, str | None]:
    """Convert a type hint to a type for cyclopts; also returns its metavar."""
    metavar = None
    if get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        metavar = next((one for one in more if isinstance(one, str)), None)
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (str, int, float, bool) or origin is Literal:
        return hint, metavar
    if hint is os.PathLike or (isinstance(origin or hint, type) and issubclass(origin or hint, os.PathLike)):
        return str, metavar or "FILE"
    if origin in _LISTS:
        if origin is tuple and inner[-1] is not ...:
            return tuple[tuple(_type(one, what)[0] for one in inner)], metavar  # type: ignore[misc]
        return tuple[_type(inner[0], what)[0], ...], metavar  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        parts = [_type(one, what) for one in inner if one is not type(None)]
        metavar = next((candidate for candidate in (metavar, *(part[1] for part in parts)) if candidate), None)
        kinds = {part[0] for part in parts}
        if kinds == {int, float}:
            kinds = {float}
        if len(kinds) == 1:
            (one,) = kinds
            return (one | None if type(None) in inner else one), metavar
    raise TypeError(f"{what} cannot be an option of a command line, since it is {hint}. Skip it, or annotate it.")


def _placeholder(kind: Any, metavar: str | None) -> str:
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not type(None)]
    if origin is Literal:
        return "{" + (" or " if "," in inner else ",").join(map(str, inner)) + "}"
    if origin is tuple:
        return " ".join("..." if one is ... else _placeholder(one, metavar) for one in inner)
    if origin is not None:  # a union with None
        return _placeholder(inner[0], metavar)
    return metavar or {int: "N", float: "X", str: "TEXT"}[kind]
