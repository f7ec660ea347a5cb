"""The kind of model that a command line is about, before it is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from speechrnn.cli.options import Group, peek
from speechrnn.cli.verb import UsageError
from speechrnn.faults import check_choice
from speechrnn.models import kinds
from speechrnn.models.commands import Command


def tasks(verb: str) -> dict[str, kinds.Kind]:
    """The kinds that a verb knows, by the word of `--task`."""
    return {kind.method: kind for kind in kinds.kinds() if verb in command(kind).verbs}


def chosen(verb: str, words: Sequence[str]) -> kinds.Kind:
    """The kind that `--task` names, or that of `--model`, or that whose labels a manifest has, or else the first.

    Args:
        verb: The verb.
        words: The rest of the command line.

    Raises:
        UsageError: There is no such task.
    """
    known = tasks(verb)
    word, model = peek(words, "--task"), peek(words, "--model")
    if word is not None:
        check_choice("--task", word, known, error=UsageError)
        return known[word]
    found = _of_file(model) if model is not None else None
    if found is None:
        found = _of_manifest(known.values(), (word for word in words if word.endswith(".jsonl")))
    return found or next(iter(known.values()))


def command(kind: kinds.Kind) -> Command:
    """Options and words of a kind."""
    return kinds.resolve(kind.command)(kind)


def elsewhere(verb: str, kind: kinds.Kind, *attributes: str) -> dict[str, str]:
    """Sentences about options that other kinds have, by flag.

    Args:
        verb: The verb.
        kind: The kind that was chosen.
        *attributes: Those of `Command` with sources of options.
    """
    return {
        option.flag: f"an option of --task {word}, not of --task {kind.method}."
        for word, other in reversed(tasks(verb).items())  # the first one is told
        for attribute in attributes
        for source in getattr(command(other), attribute)
        for option in Group(source).options
    }


def _of_file(model: str) -> kinds.Kind | None:
    from speechrnn.models import loading  # which needs NumPy; a help text does not

    return loading.kind_in(model)


def _of_manifest(known: Iterable[kinds.Kind], paths: Iterable[str]) -> kinds.Kind | None:
    """The kind that learns from what the first line of the first manifest has; None if it cannot be read."""
    for path in paths:
        try:
            with open(path, encoding="utf-8-sig") as file:
                line = json.loads(next(filter(str.strip, file), "null"))
        except (OSError, ValueError):  # named once the manifest is read in earnest
            return None
        if isinstance(line, dict):
            return next((kind for kind in known if command(kind).fits(line)), None)
    return None
