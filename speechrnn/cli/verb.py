"""A verb of the command line: a function and its options, which are parsed to its arguments.

cyclopts converts words to values, reports errors, and generates shell completions. Three libraries were measured with
the options of `train --task classify` (Python 3.11, seconds of processor time, medians of 15 processes on a shared
machine): import alone cyclopts 5.5 0.11, tyro 1.0 0.11, jsonargparse 4.53 0.18; a parsed command line 0.17 and 0.25, a
help text 0.40 and 0.29 with the first two. All are maintained and have wheels for Python 3.11 to 3.13. Only cyclopts
accepts lists in both forms (`--format txt json`, `--format txt --format json`), raises exceptions for errors and
distinguishes given options from defaults. Its help uses rich and Markdown, which is slow; so the help is printed here,
and cyclopts is imported only for parsing.
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
"""File name extensions of models."""

_PIPE = "\0"
"""Replaces the word `-`, which cyclopts takes for an option."""
_COLUMN, _WIDTH = 26, 100
"""Column of the help's descriptions, and its width without a terminal."""


class UsageError(ValueError):
    """The command line is wrong."""


@dataclass(frozen=True)
class Verb:
    """A verb, with the options that fit a command line.

    Args:
        name: Name, such as "train".
        function: Does the work and returns the exit code. Its arguments are options of the verb; an argument named in
            `groups` receives the given options of these groups as a dictionary.
        groups: Groups of options, by the argument that receives them.
        epilog: The last lines of the help.
        hints: Messages about options that the verb does not have, such as those of another kind of model, by flag;
            or a function that returns them.
        about: Description of the verb, if not the function's docstring.
        bound: Arguments of the function that are not options.
        without_arguments: Whether it can run without any of its positional arguments.
    """

    name: str
    function: Callable[..., int]
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)
    epilog: str = ""
    hints: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default_factory=dict)
    about: str = ""
    bound: Mapping[str, Any] = field(default_factory=dict)
    without_arguments: bool = False

    @property
    def program(self) -> str:
        """The words before its arguments."""
        return f"speechrnn {self.name}"

    @cached_property
    def options(self) -> dict[str, tuple[str | None, Option]]:
        """Options by name, each with the function's argument that receives it in a dictionary, or None if it is one."""
        by_name: dict[str, tuple[str | None, Option]] = {}
        own = declared(self.function, skip=(*self.groups, *self.bound))
        grouped = [(argument, option) for argument, gs in self.groups.items() for g in gs for option in g.options]
        for argument, option in [*((None, option) for option in own), *grouped]:
            if option.name in by_name:
                raise TypeError(f"{self.program}: two options are called {option.flag}.")
            by_name[option.name] = argument, option
        return by_name

    def __call__(self, words: Sequence[str]) -> int:
        """Run a command line and return the exit code."""
        if {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words):
            print(self.help())
            return DONE
        try:
            positional, keywords = self.parse(words)
            _check_out(positional, keywords.get("out"))
            return self.function(*positional, **keywords, **self.bound)
        except UsageError as error:
            return print_usage_error(self.program, error)

    def parse(self, words: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Parse the arguments of the function; options that were not given are left out.

        Raises:
            UsageError: An option is unknown, a value cannot be converted, or a required one is missing.
        """
        from cyclopts import CycloptsError

        self._refuse_misplaced(words[: words.index("--")] if "--" in words else words)
        try:
            tokens = [_PIPE if word == "-" else word for word in words]
            _, bound, _ = self.app().parse_args(tokens, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            raise UsageError(self._message(error) + self._greedy_hint(words)) from error
        positional = tuple("-" if value == _PIPE else value for value in bound.args)
        keywords: dict[str, Any] = {argument: {} for argument in self.groups}
        for name, value in bound.kwargs.items():
            argument, option = self.options[name]
            target = keywords if argument is None else keywords[argument]
            target = target if option.within is None else target.setdefault(option.within, {})
            target[option.key or name] = "-" if value == _PIPE else value
        for _, option in self.options.values():
            if option.positional == "many" and not positional and not self.without_arguments:
                raise UsageError(f"{option.flag} is required.{self._greedy_hint(words)}")
        return positional, keywords

    def app(self, options: Iterable[Option] | None = None) -> Any:
        """The cyclopts app of the verb, with its options or with others."""
        from cyclopts import App, Parameter

        def command(*arguments: Any, **options: Any) -> None:
            """Placeholder for the function."""

        kinds = {"one": inspect.Parameter.POSITIONAL_ONLY, "many": inspect.Parameter.VAR_POSITIONAL}
        parameters = []
        for option in options or [option for _, option in self.options.values()]:
            converter = _text if option.type == str | None else None
            parameter = Parameter(name=option.flag, help=option.help, converter=converter)
            default = inspect.Parameter.empty if option.default is REQUIRED else option.default
            kind = kinds[option.positional] if option.positional else inspect.Parameter.KEYWORD_ONLY
            annotation = Annotated[option.type, parameter]  # type: ignore[name-defined]
            parameters.append(inspect.Parameter(option.name, kind, default=default, annotation=annotation))
        signature = inspect.Signature(sorted(parameters, key=lambda one: one.kind))
        command.__signature__ = signature  # type: ignore[attr-defined]
        parameter_defaults = Parameter(consume_multiple=True, negative_iterable=(), negative_none=())
        name = self.name.rpartition(" ")[2]
        app = App(
            name=name,
            help=self.description.partition("\n")[0],
            help_format="plaintext",
            version_flags=[],
            default_parameter=parameter_defaults,
        )
        app.default(command)
        return app

    @property
    def description(self) -> str:
        """Description of the verb."""
        return self.about or (inspect.getdoc(self.function) or "").partition("\nArgs:")[0].rstrip()

    def help(self) -> str:
        """Help text: usage, description and options."""
        options = [option for _, option in self.options.values()]
        required = [option for option in options if option.positional or option.default is REQUIRED]
        usage = [f"[{option.usage}]" if self._is_optional(option) else option.usage for option in required]
        lines = [f"usage: {' '.join([self.program, *usage, '[options]'])}", ""]
        lines.append(self.description)
        width = min(shutil.get_terminal_size((_WIDTH, 24)).columns, 120)
        flags = {option.name: option.flag for option in options if "_" in option.name}
        sections: dict[str, list[str]] = {"arguments": []}
        for option in options:
            sections.setdefault("arguments" if option.positional else option.title, []).extend(
                _entry(dataclasses.replace(option, help=_for_command_line(option.help, flags)), width)
            )
        for title, entries in sections.items():
            lines += ["", f"{title}:", *entries] if entries else []
        return "\n".join([*lines, *(["", self.epilog.rstrip()] if self.epilog else [])])

    def _is_optional(self, option: Option) -> bool:
        """Whether an argument may be left out."""
        return self.without_arguments if option.positional == "many" else option.default is not REQUIRED

    def _refuse_misplaced(self, words: Sequence[str]) -> None:
        """Refuse options of other verbs or kinds, and renamed ones."""
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        known = {option.flag for _, option in self.options.values()} | {"--"}
        if not_applicable := [flag for flag in flags if flag not in known]:
            hints = self.hints() if callable(self.hints) else self.hints
            for flag in not_applicable:
                if flag in hints:
                    raise UsageError(f"{flag}: {hints[flag]}")
        if "--model" in known and "--model" not in flags:
            for before, word in zip(["", *words], words, strict=False):
                if PurePath(word).suffix in MODELS and not before.startswith("-") and not word.startswith("-"):
                    raise UsageError(f"the model is given with --model, as in `{self.program} --model {word} ...`.")

    def _greedy_hint(self, words: Sequence[str]) -> str:
        """Hint for arguments that were taken as values of an option before them."""
        argument = next((option for _, option in self.options.values() if option.positional), None)
        if argument is None or (words and not words[0].startswith("--")):
            return ""
        greedy = {option.flag for _, option in self.options.values() if option.usage.endswith("...")}
        flags = [i for i, word in enumerate(words) if word.startswith("--")]
        for first, next_flag in itertools.pairwise([*flags, len(words)]):
            flag, _, value = words[first].partition("=")
            if flag in greedy and (next_flag == len(words) or next_flag - first - 1 + bool(value) > 1):
                return f" {flag} takes all words after it: put {argument.flag} before it, or `--` between them."
        return ""

    def _message(self, error: Any) -> str:
        """Message for an error of cyclopts."""
        from cyclopts import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

        if isinstance(error, UnknownOptionError):
            name = (error.token.keyword or error.token.value).partition("=")[0]
            return f"unknown option {name}.{suggestion(name, [option.flag for _, option in self.options.values()])}"
        if isinstance(error, UnusedCliTokensError):
            return f"unexpected argument {(error.unused_tokens or ['?'])[0]!r}."
        missing = error.argument if isinstance(error, MissingArgumentError) and not error.keyword else None
        if missing and not missing.tokens:
            return f"{missing.name} is required."
        message = str(error).replace(_PIPE, "-").strip()
        return re.sub(r'(?:: )?unable to convert ("[^"]*") into (\w+)', _conversion_message, message)


def _check_out(inputs: Iterable[Any], out: Any) -> None:
    """Refuse to write results over one of the inputs, even with --overwrite.

    Raises:
        UsageError: `out` is one of the inputs.
    """
    if not isinstance(out, str) or not os.path.isfile(out):
        return
    for value in inputs:
        if isinstance(value, str) and os.path.isfile(value) and os.path.samefile(value, out):
            raise UsageError(f"--out {out} is one of the inputs. Write the results to another file.")


def print_usage_error(program: str, error: UsageError) -> int:
    """Print an error in a command line and how to get help; returns the exit code."""
    print(f"{program}: error: {error}\nSee `{program} --help`.", file=sys.stderr)
    return NOTHING_DONE


def _conversion_message(match: re.Match[str]) -> str:
    """Reword cyclopts's message about a value that it cannot convert, without names of Python types."""
    expected = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(match[2], match[2])
    return f": {match[1]} is not {expected}"


def _text(kind: Any, tokens: Sequence[Any]) -> str | None:
    """Convert to a string, or to None for the word `none`, which cyclopts would take for a string."""
    return None if tokens[0].value.lower() == "none" else str(tokens[0].value)


def _for_command_line(text: str, flags: Mapping[str, str]) -> str:
    """Reword a docstring for the command line: names of arguments become flags, and None becomes `none`."""
    renamed = re.sub(r"`(\w+)`", lambda match: f"`{flags.get(match[1], match[1])}`", text)
    return re.sub(r"`?\bNone\b`?", "`none`", renamed)


def _entry(option: Option, width: int) -> Iterator[str]:
    """Yield an option's lines in the help."""
    default = f" (default: {option.default_text})" if option.default_text else ""
    required = " (required)" if option.default is REQUIRED and not option.positional else ""
    lines = textwrap.wrap(f"{option.help}{default}{required}", max(width - _COLUMN, 40)) or [""]
    head = f"  {option.usage}"
    if len(head) > _COLUMN - 2:
        yield head
        head = ""
    yield f"{head:{_COLUMN}}{lines[0]}".rstrip()
    yield from (" " * _COLUMN + line for line in lines[1:])
