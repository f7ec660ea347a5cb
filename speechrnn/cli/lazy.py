"""Imports that wait until something is used, so that the help of a script does not wait for TensorFlow.

A script imports what it uses at its top, and most of that starts TensorFlow, which takes seconds; its help uses little
of it. Python 3.15 has `lazy import` for this (PEP 810). Before it, `import` can only be changed for the whole process:
here it is changed for the modules of one package, and only in a process that prints a help text and ends.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

_IMPORT: Callable[..., Any] = builtins.__import__


def until_used(package: str) -> None:
    """Let the modules of a package import lazily if `python -m package.module` was asked for its help.

    Call it in the package's `__init__`, which runs before the module. The standard library, the package itself and the
    command line are imported as always.

    Args:
        package: Its name.
    """
    words = sys.argv[1:]
    asked = {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words)
    if sys.argv[0] != "-m" or not asked:  # what Python sets while it looks for the module
        return
    usual = {*sys.stdlib_module_names, package}

    def lazily(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        ours = globals is not None and globals.get("__package__") == package
        root = name.partition(".")[0]
        if not ours or level or root in usual or name.startswith("speechrnn.cli") or "*" in (fromlist or ()):
            return _IMPORT(name, globals, locals, fromlist, level)
        return _Names(name) if fromlist else _Later(name, root)

    builtins.__import__ = lazily  # type: ignore[assignment]


def used(value: Any) -> Any:
    """A value that may have been imported lazily, as it is."""
    return value._itself if isinstance(value, _Later) else value


class _Names:
    """A module of which names are imported, none of them yet.

    Args:
        module: Its name.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> _Later:
        return _Later(self._module, self._module, name)


class _Later:
    """Something that is imported when it is used.

    Args:
        module: What is imported.
        holder: The module that it is, or that has it.
        name: Its name there; empty for the module itself.
    """

    def __init__(self, module: str, holder: str, name: str = "") -> None:
        self._module, self._holder, self._name = module, holder, name

    @cached_property
    def _itself(self) -> Any:
        import_module(self._module)
        holder = import_module(self._holder)
        if not self._name:
            return holder
        try:
            return getattr(holder, self._name)
        except AttributeError:  # a module that its package does not know yet
            return import_module(f"{self._holder}.{self._name}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._itself, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._itself(*arguments, **options)

    def __getitem__(self, key: Any) -> Any:
        return self._itself[key]

    def __iter__(self) -> Any:
        return iter(self._itself)

    def __or__(self, other: Any) -> Any:  # of a type and another
        return self._itself | other

    def __ror__(self, other: Any) -> Any:
        return other | self._itself

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._itself,)
