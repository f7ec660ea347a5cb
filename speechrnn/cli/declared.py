"""What a dataclass or a function declares of its options, read from its source and not by importing it.

`speechrnn train --help` is so quick because nothing is imported that imports TensorFlow; and each option's
name, type, default and sentence stand in one place, where the option is declared.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "Path": str,
    "PathLike": str,
    "bool": bool,
}
_LISTS = ("Sequence", "Iterable", "list", "tuple")


@dataclass(frozen=True)
class Type:
    """How the words of a command line become a value."""

    convert: Callable[[str], Any]
    choices: tuple[Any, ...] | None = None
    count: int | str | None = None
    """Number of words (argparse's `nargs`) where the value is a tuple."""
    optional: bool = False
    """None may be given, as the word `none`."""


@dataclass(frozen=True)
class Option:
    """One declared option."""

    name: str
    type: Type | None
    """None for what cannot be said in words."""
    default: Any
    """Its value; `Option.UNKNOWN` for one that only running the code could tell."""
    required: bool
    help: str

    UNKNOWN = object()


@dataclass(frozen=True)
class Declaration:
    """A dataclass, a class with a constructor, or a function."""

    name: str
    summary: str
    """First sentence of its docstring."""
    options: tuple[Option, ...]


@cache
def declaration(reference: str) -> Declaration:
    """Read a declaration.

    Args:
        reference: Module and name, such as `speechrnn.training.options:TrainingOptions`.

    Raises:
        LookupError: The module or the name is not there.
    """
    module, _, name = reference.partition(":")
    for node in _module(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            document = ast.get_docstring(node) or ""
            options = tuple(_fields(node, module) if _is_dataclass(node) else _arguments(node, document))
            return Declaration(name, document.strip().partition("\n")[0], options)
    raise LookupError(f"{module} declares no {name}.")


def summary(module: str) -> str:
    """First line of a module's docstring."""
    return (ast.get_docstring(_module(module)) or "").partition("\n")[0]


@cache
def _module(name: str) -> ast.Module:
    stem = PACKAGE.joinpath(*name.split(".")[1:])
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.exists():
            return ast.parse(path.read_text(encoding="utf-8"))
    raise LookupError(f"There is no module {name}.")


def _is_dataclass(node: ast.ClassDef | ast.FunctionDef) -> bool:
    return isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def _fields(node: ast.ClassDef | ast.FunctionDef, module: str) -> Iterator[Option]:
    """Fields of a dataclass, each with the string under it; those of its base first."""
    found: dict[str, Option] = {}
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        for option in declaration(_imported(module, ast.unparse(base))).options:
            found[option.name] = option
    for option in _own_fields(node):
        found[option.name] = option
    yield from found.values()


def _imported(module: str, name: str) -> str:
    """Where a name that a module uses is declared."""
    for node in _module(module).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return f"{node.module}:{name}"
    return f"{module}:{name}"


def _own_fields(node: ast.ClassDef | ast.FunctionDef) -> Iterator[Option]:
    for index, field in enumerate(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            following = node.body[index + 1] if index + 1 < len(node.body) else None
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = inspect.cleandoc(str(following.value.value))
            yield _option(field.target.id, field.annotation, field.value, text)


def _arguments(node: ast.ClassDef | ast.FunctionDef, document: str) -> Iterator[Option]:
    """Arguments of a function, or of a class's constructor, with their lines of the docstring's `Args:`."""
    function = node
    if isinstance(node, ast.ClassDef):
        function = next(n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    if isinstance(function, ast.ClassDef):
        raise LookupError(f"{node.name} has no constructor.")
    help_of = _documented(document)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    named = [*positional, *arguments.kwonlyargs]
    for argument, default in zip(named, [*defaults, *arguments.kw_defaults], strict=True):
        if argument.arg not in ("self", "cls"):
            yield _option(argument.arg, argument.annotation, default, help_of.get(argument.arg, ""))


def _documented(document: str) -> dict[str, str]:
    """Sentences of a Google-style `Args:` section by name."""
    found = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", document, flags=re.MULTILINE | re.DOTALL)
    sentences = {}
    for entry in re.split(r"^ {4}(?=\S)", found[1] if found else "", flags=re.MULTILINE)[1:]:
        names, _, text = entry.partition(":")
        for name in names.split(","):
            sentences[name.strip()] = " ".join(text.split())
    return sentences


def _option(name: str, annotation: ast.expr | None, default: ast.expr | None, text: str) -> Option:
    value: Any = None
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:  # a name or a call
            value = Option.UNKNOWN
    return Option(name, _type(annotation), value, default is None, " ".join(text.split()))


def _type(node: ast.expr | None) -> Type | None:
    """The type an annotation stands for; None where it is not one of words, numbers and tuples of them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _type(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Name | ast.Attribute):
        convert = _CONVERTERS.get(_last_name(node))
        return Type(convert) if convert else None
    if isinstance(node, ast.BinOp):
        return _union(list(_alternatives(node)))
    if isinstance(node, ast.Subscript):
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        kind = _last_name(node.value)
        if kind == "PathLike":
            return Type(str)
        if kind == "Literal":
            choices = tuple(ast.literal_eval(choice) for choice in inner)
            return Type(type(choices[0]), choices)
        if kind in _LISTS:
            element = _type(inner[0])
            varying = kind != "tuple" or ast.unparse(inner[-1]) == "..."
            return Type(element.convert, element.choices, "+" if varying else len(inner)) if element else None
    return None


def _union(members: list[ast.expr]) -> Type | None:
    given = [m for m in members if not (isinstance(m, ast.Constant) and m.value is None)]
    types = [_type(member) for member in given]
    optional = len(given) < len(members)
    known = [t for t in types if t is not None]
    if len(known) < len(types) or not known:
        return None
    converters = {t.convert for t in known}
    if converters == {int, float}:
        return Type(float, optional=optional)
    if len(converters) > 1 or len({t.count for t in known}) > 1:
        return None
    choices = sum((t.choices or () for t in known), ()) if all(t.choices for t in known) else None
    return Type(known[0].convert, choices, known[0].count, optional)


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield node


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]
