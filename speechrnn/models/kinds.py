"""The registry of kinds: what each kind of model is made of, and where its parts are.

A kind is one folder of `speechrnn.tasks` and one line of `KINDS`. Its parts are named by strings such as
`"speechrnn.tasks.recognition.model:SpeechRecognizer"`, so that listing kinds imports neither TensorFlow nor anything
else that is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from speechrnn.faults import choice_message

__all__ = ["KINDS", "Kind", "kinds", "named", "of", "one", "resolve"]

KINDS = (
    "speechrnn.tasks.recognition",
    "speechrnn.tasks.classification",
    "speechrnn.tasks.forecasting",
    "speechrnn.tasks.language",
    "speechrnn.tasks.sequence_to_sequence",
    "speechrnn.tasks.synthesis",
)
"""Packages that have a `KIND`, one line each."""


@dataclass(frozen=True)
class Kind:
    """What a kind of model is made of; each part is a string `"module:attribute"`."""

    name: str
    """What the metadata of its files call it."""
    noun: str
    """What messages call it."""
    method: str
    """The method that runs it, which is also its verb on the command line, and the word of `train --task`."""
    primitive: str
    """The method of its bundles and sessions that all else is made of; whatever has it can serve."""
    model: str
    """Its bundle, a subclass of `speechrnn.models.bundle.Bundle`."""
    sessions: Mapping[str, str]
    """Its sessions, by what the metadata of a file call what it holds."""
    run: str
    """`run(model, sources, *, progress, **options)`: for each source its answer, or a `Fault`."""
    training: str
    """Subclass of `speechrnn.training.task.Task`, or what makes one of a model and options: targets, loss, what decides
    the best epoch."""
    evaluate: str
    """`evaluate(model, examples, *, faults, progress, **options)`: a report."""
    export: str
    """Subclass of `speechrnn.export.exporter.Exporter`, or what makes one of a model: its graphs and their metadata."""
    build: str | None = None
    """`build(examples, **options)`: a new model that suits a manifest."""
    read: str = "speechrnn.data.manifest:read"
    """`read(path)`: the examples in a file."""
    classes: tuple[str, ...] = ()
    """Bundles and layers of its own that its files may hold, beside `model` and those of `speechrnn.layers`."""
    listening: Mapping[str, str] = field(default_factory=dict)
    """Sessions that hear a stream through windows, by what a file of whole signals holds."""
    streams: bool = False
    """Whether its sources may also be binary streams of audio, or samples in memory with their rate."""
    command: str = "speechrnn.models.commands:Command"
    """`speechrnn.models.commands.Command` or a subclass: its options and words on the command line."""


def one(noun: str) -> str:
    """A noun with its article.

    Example:
    >>> one("owl"), one("crow")
    ('an owl', 'a crow')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def kinds() -> tuple[Kind, ...]:
    """Every kind, in the order of `KINDS`."""
    return tuple(importlib.import_module(package).KIND for package in KINDS)


def named(name: str) -> Kind:
    """The kind that has a name, or a session for files of that name.

    Raises:
        ValueError: There is none.
    """
    for kind in kinds():
        if name == kind.name or name in kind.sessions:
            return kind
    raise ValueError(choice_message("a model", name, [kind.name for kind in kinds()]))


def of(model: Any) -> Kind:
    """The kind of a bundle or a session, or of anything else that has the primitive of a kind.

    Raises:
        TypeError: It is none of ours.
    """
    name = getattr(model, "kind", None)
    if not isinstance(name, str):
        for kind in kinds():
            if hasattr(model, kind.primitive):
                return kind
        known = ", ".join(kind.model.rpartition(":")[2] for kind in kinds())
        raise TypeError(f"`model` must be one of {known}, or a session of one. Received: a {type(model).__name__}.")
    return named(name)


def resolve(reference: str) -> Any:
    """What a string such as `"package.module:attribute"` stands for."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
