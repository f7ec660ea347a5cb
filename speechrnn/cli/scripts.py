"""Scripts whose main function is their command line, as the recipes in `pipelines/` are."""

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
    """Run the main function of a script with what its command line says, and end the process.

    Each argument that the function's docstring has a sentence for is an option, of the type and with the default that
    it has there; a list without a default takes the words that belong to no option. Where a default is a dataclass, as
    training options are, its fields are options. The help begins with the docstring of the script.

    Args:
        main: The function.
        **flags: Names of options that are not called as their arguments.
    """
    sys.exit(run(main, sys.argv[1:], **flags))


def run(main: Callable[..., Any], words: Sequence[str], **flags: str) -> int:
    """As `recipe`, for the words of a command line; gives the exit code."""
    script = inspect.getmodule(main)
    defaults = {name: one.default for name, one in inspect.signature(main).parameters.items()}
    grouped: dict[str, Any] = {name: default for name, default in defaults.items() if dataclasses.is_dataclass(default)}

    def function(*listed: Any, **given: Any) -> int:
        for name, default in grouped.items():
            given[name] = dataclasses.replace(default, **given[name])
        if listed:
            given[verb.listed] = list(listed)
        main(**given)
        return DONE

    about = (inspect.getdoc(script) or "") if script else ""
    verb = _Script("", function, dict.fromkeys(grouped, ()), about=about, main=main, defaults=grouped, flags=flags)
    return guarded(lambda: verb(words))


_METAVARS = {"out": "PATH", "start": "MODEL", "model": "MODEL", "lm": "FILE", "text": "FILE"}
"""What stands for the values of a recipe's arguments, which are plain strings there."""


@dataclass(frozen=True)
class _Script(Verb):
    """The command line of a main function."""

    main: Callable[..., Any] = print
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    flags: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def called(self) -> str:
        """What is written before its arguments."""
        spec = getattr(inspect.getmodule(self.main), "__spec__", None)  # None for a file that is run by its path
        return f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"

    @cached_property
    def options(self) -> dict[str, tuple[str | None, Option]]:
        """See `Verb`."""
        told = {one.arg_name for one in docstring_parser.parse(inspect.getdoc(self.main) or "").params}
        skip = [name for name in inspect.signature(self.main).parameters if name not in told or name in self.defaults]
        found: dict[str, tuple[str | None, Option]] = {}
        for option in declared(self.main, skip=skip):
            flag = self.flags.get(option.name, option.name)
            changes: dict[str, Any] = {"name": flag, "key": option.name, "metavar": _METAVARS.get(flag)}
            if option.default is REQUIRED and option.type == tuple[str, ...]:
                changes |= {"type": str, "positional": "many"}
            found[flag] = None, dataclasses.replace(option, **changes)
        for argument, default in self.defaults.items():
            for option in declared(type(default), title=argument):
                own = getattr(default, option.name)
                found.setdefault(option.name, (argument, dataclasses.replace(option, default=own)))
        return found

    @property
    def listed(self) -> str:
        """The argument that takes the words which belong to no option."""
        return next(option.key for _, option in self.options.values() if option.positional)
