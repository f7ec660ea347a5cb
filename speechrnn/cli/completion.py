"""Print the shell completion of `speechrnn`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from speechrnn.cli import register, task
from speechrnn.cli.options import Option
from speechrnn.cli.verb import Verb
from speechrnn.data.corpora import CORPORA, archives

_ZSH = """

if [ "$funcstack[1]" = "_speechrnn" ]; then
  {0} "$@"
else
  compdef {0} speechrnn
fi
"""
"""Code that calls the function of a zsh script, whose name differs from that of the file that zsh loads."""
_PATHS = {"AUDIO", "DIR", "FILE", "LM", "MANIFEST", "MODEL", "OUT", "SOURCE"}
"""Placeholders in the help for values that are files and folders."""

_EPILOG = """\
bash: speechrnn completion bash > ~/.local/share/bash-completion/completions/speechrnn
zsh:  speechrnn completion zsh > "${fpath[1]}/_speechrnn"
fish: speechrnn completion fish > ~/.config/fish/completions/speechrnn.fish
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("completion", completion, epilog=_EPILOG)


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the shell completion of `speechrnn`.

    Args:
        shell: bash, zsh or fish.
    """
    script = _app().generate_completion(shell=shell)
    print(script.rstrip() + _ZSH.format(script.partition("()")[0].split()[-1]) if shell == "zsh" else script)
    return 0


def _app() -> Any:
    """The cyclopts app of all verbs."""
    from cyclopts import App

    root = App(name="speechrnn", help_format="plaintext", version_flags=[])
    for name in register.names():
        parent, _, last = name.rpartition(" ")
        group = root
        if parent:
            if parent not in list(root):
                root.command(App(name=parent, help_format="plaintext", version_flags=[]))
            group = root[parent]
        group.command(register.verb(name, []).app(_options(name)), name=last)
    return root


def _options(name: str) -> list[Option]:
    """The options of a verb for all tasks, with the known words or files that their values may be.

    A completion script does not read the rest of the command line, which determines the task.
    """
    corpora: dict[str, list[str]] = {"prepare": [*CORPORA], "download": [*archives()]}
    choices = {"task": [*task.tasks(name)], "corpus": corpora.get(name, [])}
    options: dict[str, Option] = {}
    for given in ([], *(["--task", one] for one in choices["task"])):
        for option_name, (_, option) in register.verb(name, given).options.items():
            options.setdefault(option_name, option)
    for option_name, option in options.items():
        if choices.get(option_name):
            options[option_name] = dataclasses.replace(option, type=Literal[tuple(choices[option_name])])
        elif _PATHS & {*option.usage.split()}:
            options[option_name] = dataclasses.replace(option, type=_paths(option.type))
    return list(options.values())


def _paths(kind: Any) -> Any:
    """The same type with `Path` instead of `str`."""
    if get_origin(kind) is tuple:
        return tuple[tuple(map(_paths, get_args(kind)))]  # type: ignore[misc]
    return Path if kind is str else Path | None if kind == str | None else kind
