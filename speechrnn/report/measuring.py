"""Measures a recognizer for a report: errors, worst utterances with their sound, training history and model card."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechrnn import __version__
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, options_as_keywords
from speechrnn.tasks.recognition.options import RecognizerEvaluation

if TYPE_CHECKING:
    import numpy as np

    from speechrnn.decoding.options import Decoder
    from speechrnn.metrics.calibration import Calibration
    from speechrnn.metrics.errors import ErrorReport, Utterance
    from speechrnn.models.protocols import Recognizer
    from speechrnn.tasks.recognition.transcript import Word
    from speechrnn.text import Vocabulary

SHOWN_SECONDS = 20.0
"""Maximum seconds of an utterance that are drawn and played."""


@dataclass(frozen=True, eq=False)
class Clip:
    """An utterance with its sound and the network's output."""

    utterance: Utterance
    signal: np.ndarray
    """float32 `(samples,)`, truncated if it is long."""
    sample_rate: int
    logits: np.ndarray
    """float32 `(frames, vocabulary)`: output of the network."""
    frame_period: float
    vocabulary: Vocabulary
    """Symbols of the columns of `logits`."""
    words: tuple[Word, ...]
    """Recognized words with times."""

    @property
    def whole(self) -> bool:
        """Whether the signal is the complete utterance."""
        return self.utterance.seconds <= len(self.signal) / self.sample_rate + 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of a recognizer."""

    name: str
    report: ErrorReport
    clips: tuple[Clip, ...] = ()
    """The worst utterances, the worst first."""
    history: tuple[Mapping[str, float], ...] = ()
    """One row per epoch of its training, if known."""
    card: tuple[tuple[str, str], ...] = ()
    """Names and values of the model card."""
    calibration: Calibration | None = None
    """Calibration of confidences, if given."""


@options_as_keywords(RecognizerEvaluation)
def measure(  # noqa: D417 - the decorator adds the options
    model: Recognizer | str | os.PathLike[str] | None,
    examples: Iterable[Example],
    *,
    options: RecognizerEvaluation,
    path: str | os.PathLike[str] | None = None,
    name: str | None = None,
    worst: int = 10,
    decoder: Decoder | None = None,
    calibration: Calibration | None = None,
    notes: Mapping[str, Any] | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
) -> Measured:
    """Evaluate a recognizer, and collect the content of a page about it.

    Args:
        model: A recognizer, the path of one, or None for the default included model.
        examples: Examples with texts, from a manifest.
        path: The model's file, if `model` is not its path; the training log is expected next to it.
        name: Name of the model in the report; by default that of its file.
        worst: Utterances that are shown with their sound, spectrogram and probabilities.
        decoder: Decoder; greedy by default.
        calibration: Calibration of the words' confidences, to show the calibrated ones too.
        notes: More rows for the model's card, such as how it decodes.
        faults: Collects the examples that could not be scored.
        progress: Called with the path of each finished example.

    Raises:
        ModuleNotFoundError: matplotlib, which the page needs, is not installed.
        ValueError: Two examples have the same id.
    """
    from speechrnn.models.loading import DEFAULT, open_model
    from speechrnn.report.plots.style import blank
    from speechrnn.tasks.recognition.evaluation import evaluate

    if worst < 0:
        raise ValueError(f"`worst` must be zero or more. Received: {worst}.")
    blank(1, 1)  # raises before minutes of measuring if charts cannot be drawn
    if path is None and (model is None or isinstance(model, str | os.PathLike)):
        path = model or DEFAULT
    recognizer, examples = open_model(model, "recognizer"), list(examples)
    by_id = {example.id: example for example in examples}
    if len(by_id) < len(examples):
        repeated = next(name for name, count in Counter(example.id for example in examples).items() if count > 1)
        raise ValueError(
            f"A report needs examples with unique ids. Received: {repeated!r} twice. Give each its own `id`."
        )
    report = evaluate(recognizer, examples, decoder=decoder, faults=faults, progress=progress, **vars(options))
    clips = [(utterance, by_id[utterance.id]) for utterance in report.worst(worst)]
    return Measured(
        name or (Path(path).name if path else type(recognizer).__name__),
        report,
        tuple(clip_of(recognizer, utterance, example, decoder=decoder) for utterance, example in clips),
        training_history(path) if path else (),
        tuple(_card(recognizer, path, notes or {})),
        calibration,
    )


def training_history(path: str | os.PathLike[str]) -> tuple[dict[str, float], ...]:
    """Read the training log next to a model, if there is one; cells that are not numbers are left out."""
    log = Path(path).with_suffix(".training") / "log.csv"
    if not log.is_file():
        return ()
    with open(log, encoding="utf-8", errors="replace", newline="") as file:
        rows = [{name: _number(cell) for name, cell in row.items() if name} for row in csv.DictReader(file)]
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return tuple(row for row in known if "epoch" in row)


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def clip_of(model: Recognizer, utterance: Utterance, example: Example, *, decoder: Decoder | None = None) -> Clip:
    """Create the clip of a scored utterance from its example."""
    from speechrnn.data.examples import read_whole
    from speechrnn.tasks.recognition import attachments
    from speechrnn.tasks.recognition.model_types import ctc_logits
    from speechrnn.tasks.recognition.transcript import spell

    signal = read_whole(example, model.sample_rate)[: round(SHOWN_SECONDS * model.sample_rate)]
    (logits,) = model.logits([signal])
    words = spell((decoder or attachments.decoder(model))(logits), model.vocabulary, frame_period=model.frame_period)
    return Clip(
        utterance,
        signal,
        model.sample_rate,
        ctc_logits(model, logits),
        model.frame_period,
        model.vocabulary,
        tuple(words),
    )


def _card(model: Any, path: str | os.PathLike[str] | None, notes: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the rows of the model's card, and properties of its file."""
    for name, value in {**(getattr(model, "card", None) or {}), **notes}.items():
        yield str(name).replace("_", " "), value if isinstance(value, str) else _in_words(value)
    symbols = model.vocabulary.symbols
    yield "vocabulary", f"{len(symbols)} symbols and the blank: {' '.join(symbols[:80]).replace('   ', ' ␣ ')}".strip()
    yield "audio", f"{model.sample_rate:,} Hz; a frame of output every {1000 * model.frame_period:g} ms"
    if path and os.path.isfile(path):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield "file", f"{os.path.basename(path)}, {os.path.getsize(path) / 1e6:,.1f} MB, SHA-256 {digest[:16]}…"
    precision = getattr(model, "metadata", {}).get("precision")
    if precision:
        yield "precision", str(precision)
    yield "measured with", f"speechrnn {__version__}"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')}: {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(map(_in_words, value))
    return str(value)
