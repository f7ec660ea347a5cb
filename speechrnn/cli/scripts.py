"""Command lines of scripts from their main functions, for the recipes in `pipelines/`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import docstring_parser

from speechrnn.cli import guarded
from speechrnn.cli.codes import DONE
from speechrnn.cli.options import REQUIRED, Option, declared
from speechrnn.cli.verb import Verb


def recipe(main: Callable[..., Any], **flags: str) -> NoReturn:
    """Run the main function of a script with the arguments of its command line, and exit.

    Each argument that is documented in the function's docstring is an option with its type and default; a list without
    a default receives the positional arguments. If a default is a dataclass, as training options are, its fields are
    options. The help begins with the docstring of the script.

    Args:
        main: The function.
        **flags: Names of options that differ from their arguments' names.
    """
    sys.exit(run(main, sys.argv[1:], **flags))


def run(main: Callable[..., Any], words: Sequence[str], **flags: str) -> int:
    """Like `recipe` for the given words of a command line; returns the exit code."""
    script = inspect.getmodule(main)
    defaults = {name: one.default for name, one in inspect.signature(main).parameters.items()}
    grouped: dict[str, Any] = {name: default for name, default in defaults.items() if dataclasses.is_dataclass(default)}

    def function(*positional: Any, **arguments: Any) -> int:
        for name, default in grouped.items():
            arguments[name] = dataclasses.replace(default, **arguments[name])
        if positional:
            arguments[verb.positional] = list(positional)
        main(**arguments)
        return DONE

    about = (inspect.getdoc(script) or "") if script else ""
    verb = _Script("", function, dict.fromkeys(grouped, ()), about=about, main=main, defaults=grouped, flags=flags)
    return guarded(lambda: verb(words))


_METAVARS = {"out": "PATH", "start": "MODEL", "model": "MODEL", "lm": "FILE", "text": "FILE"}
"""Placeholders in the help for the values of a recipe's arguments, which are plain strings."""


@dataclass(frozen=True)
class _Script(Verb):
    """The command line of a main function."""

    main: Callable[..., Any] = print
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    flags: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def program(self) -> str:
        """The words before its arguments."""
        spec = getattr(inspect.getmodule(self.main), "__spec__", None)  # None for a script that is run by its path
        return f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"

    @cached_property
    def options(self) -> dict[str, tuple[str | None, Option]]:
        """See `Verb`."""
        documented = {one.arg_name for one in docstring_parser.parse(inspect.getdoc(self.main) or "").params}
        arguments = inspect.signature(self.main).parameters
        skip = [name for name in arguments if name not in documented or name in self.defaults]
        options: dict[str, tuple[str | None, Option]] = {}
        for option in declared(self.main, skip=skip):
            flag = self.flags.get(option.name, option.name)
            changes: dict[str, Any] = {"name": flag, "key": option.name, "metavar": _METAVARS.get(flag)}
            if option.default is REQUIRED and option.type == tuple[str, ...]:
                changes |= {"type": str, "positional": "many"}
            options[flag] = None, dataclasses.replace(option, **changes)
        for argument, default in self.defaults.items():
            for option in declared(type(default), title=argument):
                value = getattr(default, option.name)
                options.setdefault(option.name, (argument, dataclasses.replace(option, default=value)))
        return options

    @property
    def positional(self) -> str:
        """Name of the main function's argument for the positional arguments."""
        return next(option.key for _, option in self.options.values() if option.positional)
