"""The registry of the kinds of models, and of the classes and functions that each consists of.

A kind is one folder of `speechrnn.tasks` and one line of `KINDS`. It names its parts by strings such as
`"speechrnn.tasks.recognition.model:SpeechRecognizer"`, so that listing kinds imports neither TensorFlow nor anything
else that is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from speechrnn.faults import choice_message

__all__ = ["KINDS", "Kind", "kinds", "named", "of", "resolve", "with_article"]

KINDS = (
    "speechrnn.tasks.recognition",
    "speechrnn.tasks.classification",
    "speechrnn.tasks.forecasting",
    "speechrnn.tasks.language",
    "speechrnn.tasks.sequence_to_sequence",
    "speechrnn.tasks.synthesis",
)
"""Packages that define a `KIND`, one line each."""


@dataclass(frozen=True)
class Kind:
    """The parts of a kind of model; each is a string `"module:attribute"`."""

    name: str
    """Name in the metadata of its files."""
    noun: str
    """Name in messages."""
    method: str
    """The method that runs it, which is also its verb on the command line, and the word of `train --task`."""
    primitive: str
    """The method of its bundles and sessions that all others call; any object with this method can take their place."""
    model: str
    """Its bundle, a subclass of `speechrnn.models.bundle.Bundle`."""
    sessions: Mapping[str, str]
    """Its session classes, by the `kind` in a file's metadata."""
    run: str
    """`run(model, sources, *, progress, **options)` yields the answer for each source, or a `Fault`."""
    training: str
    """Subclass of `speechrnn.training.task.Task`, or a function that makes a `Task` from a model and options: targets,
    loss and the figure that decides the best epoch."""
    evaluate: str
    """`evaluate(model, examples, *, faults, progress, **options)` returns a report."""
    export: str
    """Subclass of `speechrnn.export.exporter.Exporter`, or a function that makes an `Exporter` from a model: its graphs
    and their metadata."""
    build: str | None = None
    """`build(examples, **options)` returns a new model that suits a manifest."""
    read: str = "speechrnn.data.manifest:read"
    """`read(path)` returns the examples in a file."""
    classes: tuple[str, ...] = ()
    """Other bundles and layers that its files may contain, besides `model` and those of `speechrnn.layers`."""
    listening: Mapping[str, str] = field(default_factory=dict)
    """Session classes that transcribe a stream in windows with a model of whole signals, by its `kind` in metadata."""
    streams: bool = False
    """Whether its sources may also be binary streams of audio, or samples in memory with their rate."""
    command: str = "speechrnn.models.commands:Command"
    """`speechrnn.models.commands.Command` or a subclass: its options and texts on the command line."""


def with_article(noun: str) -> str:
    """A noun with its article.

    Example:
    >>> with_article("owl"), with_article("crow")
    ('an owl', 'a crow')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def kinds() -> tuple[Kind, ...]:
    """Every kind, in the order of `KINDS`."""
    return tuple(importlib.import_module(package).KIND for package in KINDS)


def named(name: str) -> Kind:
    """The kind with this name, or with a session class for files of this name.

    Raises:
        ValueError: No kind has this name.
    """
    for kind in kinds():
        if name == kind.name or name in kind.sessions:
            return kind
    raise ValueError(choice_message("a model", name, [kind.name for kind in kinds()]))


def of(model: Any) -> Kind:
    """The kind of a bundle or a session, or of another object that has the `primitive` method of a kind.

    Raises:
        TypeError: The object belongs to no kind.
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
    """Import the object that a string such as `"package.module:attribute"` names."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
