"""Print the shell completion of `speechrnn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from speechrnn.cli import register
from speechrnn.cli.verb import Verb

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
    print(_app().generate_completion(shell=shell))
    return 0


def _app() -> Any:
    """All verbs as one program."""
    from cyclopts import App

    root = App(name="speechrnn", help_format="plaintext", version_flags=[])
    for name in register.names():
        parent, _, last = name.rpartition(" ")
        at = root
        if parent:
            if parent not in list(root):
                root.command(App(name=parent, help_format="plaintext", version_flags=[]))
            at = root[parent]
        at.command(register.verb(name, []).app(), name=last)
    return root
