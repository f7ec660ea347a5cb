"""A verb of the command line: a function, the options it takes, and the way from words to its arguments.

cyclopts turns words into values, refuses what is wrong, and writes the shells' completions. Three libraries were
measured with the options of `train --task classify` (Python 3.11, seconds of processor time, medians of 15 processes on
a shared machine): import alone cyclopts 5.5 0.11, tyro 1.0 0.11, jsonargparse 4.53 0.18; a parsed command line 0.17 and
0.25, a help text 0.40 and 0.29 with the first two. All are kept alive and have wheels for Python 3.11 to 3.13. Only
cyclopts adds lists up in both spellings (`--format txt json`, `--format txt --format json`), gives its complaints as
exceptions and tells what was given from what was not. Its help goes through rich and Markdown, which is slow; so the
help is printed here, and cyclopts is imported once there is something to parse.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, Any

from speechrnn.cli.codes import DONE, NOTHING_DONE
from speechrnn.cli.options import REQUIRED, Group, Option, declared
from speechrnn.faults import suggestion

MODELS = (".keras", ".onnx", ".tflite")
"""What the names of models end in."""

_PIPE = "\0"
"""Stands for the word `-`, which cyclopts takes for an option."""
_COLUMN, _WIDTH = 26, 100
"""Where the sentences of the help begin, and where lines end if there is no terminal."""


class UsageError(ValueError):
    """What was asked for makes no sense."""


@dataclass(frozen=True)
class Verb:
    """A verb with the options that the words of a command line determine.

    Args:
        name: Such as "train".
        function: Does the work and gives the exit code. Its arguments are the verb's own; one with the name of an entry
            of `groups` gets those options of these groups that were given, as a dictionary.
        groups: Groups by the argument that gets them.
        epilog: The last lines of the help.
        elsewhere: Sentences about options that the verb does not have, such as those of another kind of model, by
            flag; or what gives them once one is needed.
        about: What the verb does, where the function's docstring does not tell.
        given: Arguments of the function that the verb itself knows.
        alone: Whether it does something without any of its many arguments.
    """

    name: str
    function: Callable[..., int]
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)
    epilog: str = ""
    elsewhere: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default_factory=dict)
    about: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False

    @property
    def called(self) -> str:
        """What is written before its arguments."""
        return f"speechrnn {self.name}"

    @cached_property
    def options(self) -> dict[str, tuple[str | None, Option]]:
        """By name; each with the argument of the function that gets it, or None where it is an argument itself."""
        found: dict[str, tuple[str | None, Option]] = {}
        own = declared(self.function, skip=(*self.groups, *self.given))
        given = [(argument, option) for argument, groups in self.groups.items() for g in groups for option in g.options]
        for argument, option in [*((None, option) for option in own), *given]:
            if option.name in found:
                raise TypeError(f"{self.called}: two options are called {option.flag}.")
            found[option.name] = argument, option
        return found

    def __call__(self, words: Sequence[str]) -> int:
        """Do what a command line says; gives the exit code."""
        if {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words):
            print(self.help())
            return DONE
        try:
            positional, keywords = self.parse(words)
            _check_out(positional, keywords.get("out"))
            return self.function(*positional, **keywords, **self.given)
        except UsageError as error:
            return refused(self.called, error)

    def parse(self, words: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the function; of options only those that were given.

        Raises:
            UsageError: An option is unknown, a value cannot be read, or something required is missing.
        """
        from cyclopts import CycloptsError

        self._refuse_known(words[: words.index("--")] if "--" in words else words)
        try:
            tokens = [_PIPE if word == "-" else word for word in words]
            _, bound, _ = self.app().parse_args(tokens, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            raise UsageError(self._complaint(error) + self._taken(words)) from error
        positional = tuple("-" if value == _PIPE else value for value in bound.args)
        keywords: dict[str, Any] = {argument: {} for argument in self.groups}
        for name, value in bound.kwargs.items():
            argument, option = self.options[name]
            to = keywords if argument is None else keywords[argument]
            to = to if option.within is None else to.setdefault(option.within, {})
            to[option.key or name] = "-" if value == _PIPE else value
        for _, option in self.options.values():
            if option.positional == "many" and not positional and not self.alone:
                raise UsageError(f"{option.flag} is required.{self._taken(words)}")
        return positional, keywords

    def app(self, options: Iterable[Option] | None = None) -> Any:
        """The verb as cyclopts has it, with its options or others."""
        from cyclopts import App, Parameter

        def command(*arguments: Any, **options: Any) -> None:
            """Stands for the function."""

        kinds = {"one": inspect.Parameter.POSITIONAL_ONLY, "many": inspect.Parameter.VAR_POSITIONAL}
        parameters = []
        for option in options or [option for _, option in self.options.values()]:
            converter = _text if option.type == str | None else None
            about = Parameter(name=option.flag, help=option.help, converter=converter)
            default = inspect.Parameter.empty if option.default is REQUIRED else option.default
            kind = kinds[option.positional] if option.positional else inspect.Parameter.KEYWORD_ONLY
            annotation = Annotated[option.type, about]  # type: ignore[name-defined]
            parameters.append(inspect.Parameter(option.name, kind, default=default, annotation=annotation))
        signature = inspect.Signature(sorted(parameters, key=lambda one: one.kind))
        command.__signature__ = signature  # type: ignore[attr-defined]
        each = Parameter(consume_multiple=True, negative_iterable=(), negative_none=())
        name = self.name.rpartition(" ")[2]
        made = App(
            name=name,
            help=self.description.partition("\n")[0],
            help_format="plaintext",
            version_flags=[],
            default_parameter=each,
        )
        made.default(command)
        return made

    @property
    def description(self) -> str:
        """What the verb does."""
        return self.about or (inspect.getdoc(self.function) or "").partition("\nArgs:")[0].rstrip()

    def help(self) -> str:
        """Usage, what the verb does, and its options."""
        options = [option for _, option in self.options.values()]
        needed = [option for option in options if option.positional or option.default is REQUIRED]
        usage = [f"[{option.shown}]" if self._left_out(option) else option.shown for option in needed]
        lines = [f"usage: {' '.join([self.called, *usage, '[options]'])}", ""]
        lines.append(self.description)
        width = min(shutil.get_terminal_size((_WIDTH, 24)).columns, 120)
        flags = {option.name: option.flag for option in options if "_" in option.name}
        sections: dict[str, list[str]] = {"arguments": []}
        for option in options:
            sections.setdefault("arguments" if option.positional else option.title, []).extend(
                _entry(dataclasses.replace(option, help=_written(option.help, flags)), width)
            )
        for title, entries in sections.items():
            lines += ["", f"{title}:", *entries] if entries else []
        return "\n".join([*lines, *(["", self.epilog.rstrip()] if self.epilog else [])])

    def _left_out(self, option: Option) -> bool:
        """Whether an argument need not be given."""
        return self.alone if option.positional == "many" else option.default is not REQUIRED

    def _refuse_known(self, words: Sequence[str]) -> None:
        """Refuse what another verb or kind has, and what is written in an old way."""
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        own = {option.flag for _, option in self.options.values()} | {"--"}
        if not_applicable := [flag for flag in flags if flag not in own]:
            told = self.elsewhere() if callable(self.elsewhere) else self.elsewhere
            for flag in not_applicable:
                if flag in told:
                    raise UsageError(f"{flag}: {told[flag]}")
        if "--model" in own and "--model" not in flags:
            for before, word in zip(["", *words], words, strict=False):
                if PurePath(word).suffix in MODELS and not before.startswith("-") and not word.startswith("-"):
                    raise UsageError(f"the model is given with --model, as in `{self.called} --model {word} ...`.")

    def _taken(self, words: Sequence[str]) -> str:
        """What to do where values of an option that takes several were meant as arguments."""
        wanted = next((option for _, option in self.options.values() if option.positional), None)
        if wanted is None or (words and not words[0].startswith("--")):
            return ""
        several = {option.flag for _, option in self.options.values() if option.shown.endswith("...")}
        flags = [i for i, word in enumerate(words) if word.startswith("--")]
        for first, after in itertools.pairwise([*flags, len(words)]):
            flag, _, value = words[first].partition("=")
            if flag in several and (after == len(words) or after - first - 1 + bool(value) > 1):
                return f" {flag} takes all words after it: put {wanted.flag} before it, or `--` between them."
        return ""

    def _complaint(self, error: Any) -> str:
        """What is wrong with a command line, in a sentence or two."""
        from cyclopts import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

        if isinstance(error, UnknownOptionError):
            name = (error.token.keyword or error.token.value).partition("=")[0]
            return f"unknown option {name}.{suggestion(name, [option.flag for _, option in self.options.values()])}"
        if isinstance(error, UnusedCliTokensError):
            return f"unexpected argument {(error.unused_tokens or ['?'])[0]!r}."
        missing = error.argument if isinstance(error, MissingArgumentError) and not error.keyword else None
        if missing and not missing.tokens:
            return f"{missing.name} is required."
        told = str(error).replace(_PIPE, "-").strip()
        return re.sub(r'(?:: )?unable to convert ("[^"]*") into (\w+)', _not_a, told)


def _check_out(inputs: Iterable[Any], out: Any) -> None:
    """Refuse to write results over what they are made from, --overwrite or not.

    Raises:
        UsageError: `out` is the file of one of the inputs.
    """
    if not isinstance(out, str) or not os.path.isfile(out):
        return
    for value in inputs:
        if isinstance(value, str) and os.path.isfile(value) and os.path.samefile(value, out):
            raise UsageError(f"--out {out} is one of the inputs. Write the results to another file.")


def refused(called: str, error: UsageError) -> int:
    """Tell what is wrong with a command line, and where help is."""
    print(f"{called}: error: {error}\nSee `{called} --help`.", file=sys.stderr)
    return NOTHING_DONE


def _not_a(found: re.Match[str]) -> str:
    """What cyclopts says of a value that it cannot convert, without the names of Python's types."""
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(found[2], found[2])
    return f": {found[1]} is not {wanted}"


def _text(kind: Any, tokens: Sequence[Any]) -> str | None:
    """A text, or None for the word `none`; cyclopts would take it for a text."""
    return None if tokens[0].value.lower() == "none" else str(tokens[0].value)


def _written(told: str, flags: Mapping[str, str]) -> str:
    """A sentence for callers in Python, with names and None as they are written on a command line."""
    named = re.sub(r"`(\w+)`", lambda found: f"`{flags.get(found[1], found[1])}`", told)
    return re.sub(r"`?\bNone\b`?", "`none`", named)


def _entry(option: Option, width: int) -> Iterator[str]:
    """An option with its sentence, as lines of the help."""
    default = f" (default: {option.default_words})" if option.default_words else ""
    needed = " (required)" if option.default is REQUIRED and not option.positional else ""
    lines = textwrap.wrap(f"{option.help}{default}{needed}", max(width - _COLUMN, 40)) or [""]
    head = f"  {option.shown}"
    if len(head) > _COLUMN - 2:
        yield head
        head = ""
    yield f"{head:{_COLUMN}}{lines[0]}".rstrip()
    yield from (" " * _COLUMN + line for line in lines[1:])
