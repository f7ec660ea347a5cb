"""Determines the kind of model of a command line before it is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from speechrnn.cli.options import Group, peek
from speechrnn.cli.verb import UsageError
from speechrnn.faults import check_choice
from speechrnn.models import kinds
from speechrnn.models.commands import Command


def tasks(verb: str) -> dict[str, kinds.Kind]:
    """The kinds that a verb supports, by the value of `--task`."""
    return {kind.method: kind for kind in kinds.kinds() if verb in command(kind).verbs}


def chosen(verb: str, words: Sequence[str]) -> kinds.Kind:
    """Choose the kind by `--task`, else by `--model`, else by the labels of a manifest, else the first.

    Args:
        verb: The verb.
        words: The rest of the command line.

    Raises:
        UsageError: The task is unknown.
    """
    known = tasks(verb)
    word, model = peek(words, "--task"), peek(words, "--model")
    if word is not None:
        check_choice("--task", word, known, error=UsageError)
        return known[word]
    kind = _of_file(model) if model is not None else None
    if kind is None:
        kind = _of_manifest(known.values(), (word for word in words if word.endswith(".jsonl")))
    return kind or next(iter(known.values()))


def command(kind: kinds.Kind) -> Command:
    """The `Command` of a kind, with its options and help."""
    return kinds.resolve(kind.command)(kind)


def hints(verb: str, kind: kinds.Kind, *attributes: str) -> dict[str, str]:
    """Messages about options that only other kinds have, by flag.

    Args:
        verb: The verb.
        kind: The chosen kind.
        *attributes: Attributes of `Command` with sources of options.
    """
    return {
        option.flag: f"an option of --task {word}, not of --task {kind.method}."
        for word, other in reversed(tasks(verb).items())  # the message names the first one
        for attribute in attributes
        for source in getattr(command(other), attribute)
        for option in Group(source).options
    }


def _of_file(model: str) -> kinds.Kind | None:
    from speechrnn.models import loading  # not at the top: --help must not import NumPy

    return loading.kind_in(model)


def _of_manifest(known: Iterable[kinds.Kind], paths: Iterable[str]) -> kinds.Kind | None:
    """The kind that fits the first line of the first manifest; None if that cannot be read."""
    for path in paths:
        try:
            with open(path, encoding="utf-8-sig") as file:
                line = json.loads(next(filter(str.strip, file), "null"))
        except (OSError, ValueError):  # reported when the manifest is read
            return None
        if isinstance(line, dict):
            return next((kind for kind in known if command(kind).fits(line)), None)
    return None
