"""Methods that bundles and sessions share, and their answers: one answer for one source, an iterator for several."""

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

__all__ = ["Answer", "ModelMethods", "OnError", "answer_each", "answers", "channels_of", "is_manifest", "is_one"]

Source = TypeVar("Source")
Result = TypeVar("Result")

OnError = Literal["raise", "collect"]
"""What to do if a source fails: raise its error, or give an answer with `ok` false and `error` set."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Base class of answers. Fields that a kind adds have defaults, so that a failed source has an `Answer`, too."""

    path: str
    """The source: a file, or a text."""
    error: str | None = field(default=None, kw_only=True)
    """What went wrong; None if nothing did."""

    @classmethod
    def failed(cls, path: str, error: str) -> Self:
        """The answer for a source that failed."""
        return cls(path, error=error)

    @property
    def ok(self) -> bool:
        """Whether the source was processed without an error."""
        return self.error is None


def answers(
    sources: Any,
    run: Callable[[Iterable[Any]], Iterator[Any]],
    failed: Callable[[str, str], Any],
    on_error: OnError,
    kind: kinds.Kind,
) -> Any:
    """The answer for one source, or an iterator of answers for several, in order.

    Args:
        sources: A path, an `Example`, a binary stream or `(samples, sample_rate)`, or an iterable of these.
        run: Yields an answer or a `Fault` for each of several sources.
        failed: Makes the answer for a failed source, from `path` and `error`.
        on_error: See `OnError`.
        kind: Kind of the model; only some take streams and samples.

    Raises:
        ValueError: `on_error` is neither "raise" nor "collect".
        TypeError: A source is of another type.
        OSError, ValueError: With "raise", the error of the first source that failed.
    """
    check_choice("on_error", on_error, ("raise", "collect"))

    def run_all(sources: Iterable[Any]) -> Iterator[Any]:
        for outcome in run(_source(source, kind) for source in sources):
            if not isinstance(outcome, Fault):
                yield outcome
            elif on_error == "raise":
                raise outcome.exception()
            else:
                yield failed(outcome.where, str(outcome))

    if is_one(sources):
        return next(run_all([sources]))
    if not _are_several(sources):
        _source(sources, kind)  # raises the error
    return run_all(sources)


def answer_each(
    sources: Iterable[Source],
    answer: Callable[[Source], Result],
    progress: Callable[[Source], object] | None,
    *,
    where: Callable[[Source], str] = str,
) -> Iterator[Result | Fault]:
    """Yield `answer(source)` for each source in order; a `Fault` in its place where that raises an error.

    Args:
        sources: Paths, texts or others.
        answer: Computes the answer for one source.
        progress: Called with each source once it is done.
        where: Gives the name of a source, for its fault.
    """
    for source in sources:
        outcome: Result | Fault
        try:
            outcome = answer(source)
        except (OSError, ValueError) as error:
            outcome = Fault(where(source), kind_of(error), str(error))
        if progress is not None:
            progress(source)
        yield outcome


def is_one(sources: Any) -> bool:
    """Whether this is a single source: a path, an `Example`, a binary stream, or `(samples, sample_rate)`."""
    return isinstance(sources, str | os.PathLike | Example) or hasattr(sources, "read") or _are_samples(sources)


def _are_samples(one: Any) -> bool:
    """Whether this is a pair of an array and a rate, as `speechrnn.audio.read` returns."""
    pair = isinstance(one, tuple) and len(one) == 2
    return pair and hasattr(one[0], "__array__") and one[0].ndim > 0 and not getattr(one[1], "ndim", 0)


def _are_several(sources: Any) -> bool:
    """Whether this is an iterable of sources, and not samples, bytes, a mapping, or a pair with a rate."""
    if isinstance(sources, bytes | bytearray | Mapping) or hasattr(sources, "__array__"):
        return False
    pair = isinstance(sources, list | tuple) and len(sources) == 2
    return isinstance(sources, Iterable) and not (pair and any(isinstance(one, numbers.Number) for one in sources))


class _Samples:
    """Samples as a stream of WAV bytes, made when first read, so that an error concerns this source only.

    Args:
        signal: See `speechrnn.audio.in_memory`.
        sample_rate: Samples per second.
    """

    def __init__(self, signal: Any, sample_rate: Any) -> None:
        self._signal, self._sample_rate = signal, sample_rate

    @cached_property
    def _stream(self) -> BinaryIO:
        return audio.in_memory(self._signal, self._sample_rate)

    def read(self, size: int = -1) -> bytes:
        """The next bytes of a WAV file."""
        return self._stream.read(size)


def _source(source: Any, kind: kinds.Kind) -> Any:
    if isinstance(source, io.TextIOBase):
        raise TypeError("A stream must be open for reading bytes, as of `open(path, 'rb')`. Received: one of text.")
    samples = _are_samples(source)
    streamed = samples or hasattr(source, "read")
    if is_one(source) and (kind.streams or not streamed):
        return _Samples(*source) if samples else source
    if kind.streams:
        advice = " Samples need their rate: `(samples, sample_rate)`."
        wanted = "a path, an `Example`, a binary stream or `(samples, sample_rate)`"
    else:
        advice = f" What is in memory goes to `{kind.primitive}`."
        wanted = "a path or an `Example`"
    raise TypeError(
        f"A source must be {wanted}, and several stand in a list. Received: {type(source).__name__}."
        f"{advice if streamed or hasattr(source, '__array__') or isinstance(source, list | tuple | Mapping) else ''}"
    )


def channels_of(model: Any) -> list[str] | int | None:
    """Channels of a record that a model reads: their names, or how many from the first on; None for audio."""
    named = getattr(model, "card", {}).get("channels")
    return list(named) if isinstance(named, list | tuple) and len(named) == model.channels else model.channels


def is_manifest(examples: Any, is_example: Callable[[Any], bool]) -> bool:
    """Whether this is the path of a manifest, or a list of examples."""
    if isinstance(examples, str | os.PathLike):
        return True
    return isinstance(examples, list | tuple) and all(map(is_example, examples))


class ModelMethods:
    """Methods of the bundles and sessions of every kind."""

    @staticmethod
    def is_example(value: Any) -> bool:
        """Whether the model can be evaluated on this value."""
        return isinstance(value, Example)

    def _answer(self, answer: type[Answer], sources: Any, on_error: OnError, **options: Any) -> Any:
        """Run the kind's `run` function on the sources with these options; see `answers`."""
        kind = kinds.of(self)
        run = kinds.resolve(kind.run)
        return answers(sources, lambda sources: run(self, sources, **options), answer.failed, on_error, kind)

    def evaluate_examples(self, examples: Any, **options: Any) -> Any:
        """Evaluate the model on examples, or on the manifest at a path; see the `evaluate` function of its kind."""
        kind = kinds.of(self)
        if isinstance(examples, str | os.PathLike):
            examples = kinds.resolve(kind.read)(examples)
        examples = list(examples)
        if wrong := [example for example in examples if not self.is_example(example)]:
            raise TypeError(
                f"{kinds.with_article(kind.noun).capitalize()} is measured on examples, or on the manifest at a path. "
                f"Received: {wrong[0]!r:.80}, of {type(wrong[0]).__name__}."
            )
        return kinds.resolve(kind.evaluate)(self, examples, **options)

    def evaluate(self, examples: Any, **options: Any) -> Any:
        """Evaluate the model on a manifest.

        Args:
            examples: Examples, or the path of a manifest.
            **options: See the `evaluate` function of this kind of model.

        Returns:
            A report; it prints itself.
        """
        return self.evaluate_examples(examples, **options)
