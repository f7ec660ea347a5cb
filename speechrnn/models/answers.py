"""What every model can be asked, whatever runs it: one path gives one answer, many give an iterator of answers."""

from __future__ import annotations

import io
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, Literal, Self, TypeVar

from speechrnn import audio
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, check_choice, kind_of
from speechrnn.models import kinds

__all__ = ["Answer", "OnError", "Usable", "answers", "channels_of", "in_turn", "is_manifest", "is_one"]

Source = TypeVar("Source")
Found = TypeVar("Found")

OnError = Literal["raise", "collect"]
"""What happens to a source that has no answer: it is raised, or it is an answer with `ok` false and `error` set."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What every answer has; what a kind adds has defaults, so that there is an answer that says why there is none."""

    path: str
    """What was asked about: a file, or a text."""
    error: str | None = field(default=None, kw_only=True)
    """Why there is no answer; None where there is one."""

    @classmethod
    def failed(cls, path: str, error: str) -> Self:
        """The answer where there is none."""
        return cls(path, error=error)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None


def answers(
    sources: Any,
    run: Callable[[Iterable[Any]], Iterator[Any]],
    failed: Callable[[str, str], Any],
    on_error: OnError,
    kind: kinds.Kind,
) -> Any:
    """The answer for one source, or an iterator of them for several, in the order given.

    Args:
        sources: A path, an `Example`, a binary stream or `(samples, sample_rate)`, or an iterable of these.
        run: Gives an answer or a `Fault` for each of several sources.
        failed: Makes the answer of a source that has none, from `path` and `error`.
        on_error: See `OnError`.
        kind: Of the model; only some take streams and samples.

    Raises:
        ValueError: `on_error` is neither word.
        TypeError: A source is none of these.
        OSError, ValueError: With "raise", that of the first source without an answer.
    """
    check_choice("on_error", on_error, ("raise", "collect"))

    def found(several: Iterable[Any]) -> Iterator[Any]:
        for outcome in run(_source(one, kind) for one in several):
            if not isinstance(outcome, Fault):
                yield outcome
            elif on_error == "raise":
                raise outcome.exception()
            else:
                yield failed(outcome.where, str(outcome))

    if is_one(sources):
        return next(found([sources]))
    if not _are_several(sources):
        _source(sources, kind)
    return found(sources)


def in_turn(
    sources: Iterable[Source],
    answer: Callable[[Source], Found],
    progress: Callable[[Source], object] | None,
    *,
    where: Callable[[Source], str] = str,
) -> Iterator[Found | Fault]:
    """What there is to say of each source, lazily and in the order given; or why nothing can be said.

    Args:
        sources: Paths, texts or others.
        answer: Gives what there is to say of one.
        progress: Called with each once it is done.
        where: What a fault calls a source.
    """
    for source in sources:
        outcome: Found | Fault
        try:
            outcome = answer(source)
        except (OSError, ValueError) as error:
            outcome = Fault(where(source), kind_of(error), str(error))
        if progress is not None:
            progress(source)
        yield outcome


def is_one(sources: Any) -> bool:
    """Whether this is a single source: a path, an `Example`, a binary stream, or samples and their rate."""
    return isinstance(sources, str | os.PathLike | Example) or hasattr(sources, "read") or _are_samples(sources)


def _are_samples(one: Any) -> bool:
    """Whether this is what `speechrnn.audio.read` gives: an array, and a rate."""
    pair = isinstance(one, tuple) and len(one) == 2
    return pair and hasattr(one[0], "__array__") and one[0].ndim > 0 and not getattr(one[1], "ndim", 0)


def _are_several(sources: Any) -> bool:
    """Whether these can be sources: neither samples, nor bytes, nor a mapping, nor a rate and what belongs to it."""
    if isinstance(sources, bytes | bytearray | Mapping) or hasattr(sources, "__array__"):
        return False
    pair = isinstance(sources, list | tuple) and len(sources) == 2
    return isinstance(sources, Iterable) and not (pair and any(isinstance(one, numbers.Number) for one in sources))


class _Samples:
    """Samples as a stream that begins when it is read: what is wrong with them is the fault of this source alone.

    Args:
        signal: See `speechrnn.audio.in_memory`.
        sample_rate: Samples per second.
    """

    def __init__(self, signal: Any, sample_rate: Any) -> None:
        self._given = signal, sample_rate

    @cached_property
    def _stream(self) -> BinaryIO:
        return audio.in_memory(*self._given)

    def read(self, size: int = -1) -> bytes:
        """The next bytes of a WAV file."""
        return self._stream.read(size)


def _source(one: Any, kind: kinds.Kind) -> Any:
    if isinstance(one, io.TextIOBase):
        raise TypeError("A stream must be open for reading bytes, as of `open(path, 'rb')`. Received: one of text.")
    samples = _are_samples(one)
    streamed = samples or hasattr(one, "read")
    if is_one(one) and (kind.streams or not streamed):
        return _Samples(*one) if samples else one
    if kind.streams:
        advice = " Samples need their rate: `(samples, sample_rate)`."
        wanted = "a path, an `Example`, a binary stream or `(samples, sample_rate)`"
    else:
        advice = f" What is in memory goes to `{kind.primitive}`."
        wanted = "a path or an `Example`"
    raise TypeError(
        f"A source must be {wanted}, and several stand in a list. Received: {type(one).__name__}."
        f"{advice if streamed or hasattr(one, '__array__') or isinstance(one, list | tuple | Mapping) else ''}"
    )


def channels_of(model: Any) -> list[str] | int | None:
    """Which channels of a record a model reads: those that its card names, or the first ones; None for audio."""
    named = getattr(model, "card", {}).get("channels")
    return list(named) if isinstance(named, list | tuple) and len(named) == model.channels else model.channels


def is_manifest(examples: Any, is_example: Callable[[Any], bool]) -> bool:
    """Whether these are examples, or the path of a manifest."""
    if isinstance(examples, str | os.PathLike):
        return True
    return isinstance(examples, list | tuple) and all(map(is_example, examples))


class Usable:
    """Methods that bundles and sessions of every kind have."""

    @staticmethod
    def is_example(value: Any) -> bool:
        """Whether the model can be measured on something."""
        return isinstance(value, Example)

    def _answered(self, answer: type[Answer], sources: Any, on_error: OnError, **options: Any) -> Any:
        """What the kind's method gives: `answers`, by the function that runs the kind, which takes the options."""
        kind = kinds.of(self)
        run = kinds.resolve(kind.run)
        return answers(sources, lambda several: run(self, several, **options), answer.failed, on_error, kind)

    def measured(self, examples: Any, **options: Any) -> Any:
        """The report of the model on examples, or on the manifest at a path; see `evaluate` of its kind."""
        kind = kinds.of(self)
        if isinstance(examples, str | os.PathLike):
            examples = kinds.resolve(kind.read)(examples)
        examples = list(examples)
        if wrong := [one for one in examples if not self.is_example(one)]:
            raise TypeError(
                f"{kinds.one(kind.noun).capitalize()} is measured on examples, or on the manifest at a path. "
                f"Received: {wrong[0]!r:.80}, of {type(wrong[0]).__name__}."
            )
        return kinds.resolve(kind.evaluate)(self, examples, **options)

    def evaluate(self, examples: Any, **options: Any) -> Any:
        """Measure the model on a manifest.

        Args:
            examples: Examples, or the path of a manifest.
            **options: See the `evaluate` function of this kind of model.

        Returns:
            A report; it prints itself.
        """
        return self.measured(examples, **options)
