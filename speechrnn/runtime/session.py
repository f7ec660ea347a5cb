"""A recogniser run by ONNX Runtime: a signal goes in, logits come out, and no TensorFlow is started."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from speechrnn.faults import of_file
from speechrnn.models.protocols import padded
from speechrnn.runtime import onnxfile
from speechrnn.text import Vocabulary

_MOST_THREADS = 8
"""More threads than this cost a small network more than they bring."""


class Described:
    """What a file of ours says of its model, in `metadata`."""

    metadata: dict[str, Any]

    def _check(self) -> None:
        """Raises: ValueError, KeyError: What the file says makes no sense."""
        for name in ("sample_rate", "frame_period", "stride", "window", "hop"):
            value = self.metadata[name]
            if not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"its `{name}` must be positive. Received: {value!r}")

    @property
    def sample_rate(self) -> Any:
        """Samples per second that signals must have."""
        return self.metadata["sample_rate"]

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of logits."""
        return self.metadata["frame_period"]

    @property
    def stride(self) -> int:
        """Frames of features per frame of logits."""
        return self.metadata["stride"]

    def feature_frames(self, samples: int) -> int:
        """Frames of features in a signal of that many samples."""
        return max(0, 1 + (samples - self.metadata["window"]) // self.metadata["hop"])


class WholeSignals(Described):
    """What runs a model on whole signals; a subclass knows what comes out.

    Args:
        path: The `.onnx` file, or its bytes.
        threads: Processor threads; None takes those that this process may run on, up to eight.
        providers: ONNX Runtime's execution providers in order of preference; None takes the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no model of ours, or one of another kind, or damaged, or of another format version, or
            reads other files; or a provider is not there.
    """

    held: ClassVar[str]
    """Kind of the model that the file must hold."""
    noun: ClassVar[str]
    """That kind in words."""
    hints: ClassVar[Mapping[str, str]] = {}
    """What to do with a file of another kind."""

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        name = "The model" if isinstance(path, bytes) else os.fspath(path)
        content, self.metadata = onnxfile.read(path)
        """What the file says of itself."""
        self.kind = self.metadata.get("kind")
        if self.kind != self.held:
            hint = self.hints.get(str(self.kind), "")
            raise ValueError(f"{name}: must hold a {self.noun}. Received: {self.kind!r}.{hint}")
        with of_file(name):
            self._check()
            self._prepare()
            self.card: dict[str, Any] = self.metadata["card"]
        # In 8 bits ONNX Runtime takes one scale for a whole batch, padding counted, so that an answer would depend on
        # its neighbours. There rows run apart, as many at once as there are threads: it takes no longer.
        self._rows_at_once = 0
        if self.metadata.get("precision") == "int8":
            self._rows_at_once, threads = _thread_count(threads), 1
        self._session = start(content, name, threads=threads, providers=providers)

    def _prepare(self) -> None:
        """Reads what only models of this kind say of themselves."""

    def _run(self, outputs: Sequence[str], signals: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
        """Outputs by their names, a row for each signal."""
        if not self._rows_at_once:
            return self._run_batch(outputs, signals)
        if len(signals) == 1 or self._rows_at_once == 1:
            rows = [self._run_batch(outputs, [signal]) for signal in signals]
        else:
            with ThreadPoolExecutor(min(self._rows_at_once, len(signals))) as pool:
                rows = list(pool.map(lambda signal: self._run_batch(outputs, [signal]), signals))
        return [[row[0] for row in output] for output in zip(*rows, strict=True)]

    def _run_batch(self, outputs: Sequence[str], signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for signals padded to one batch, and to one frame at least."""
        batch, lengths = padded(signals, self.metadata.get("channels"), least=self.metadata["window"])
        return self._session.run(list(outputs), {"signal": batch, "length": lengths})


class Session(WholeSignals):
    """A recogniser that `speechrnn export` wrote, ready to run.

    It stands wherever a `speechrnn.models.protocols.Recognizer` is asked for. Loading it starts neither TensorFlow
    nor Keras.

    Args:
        path: The `.onnx` file, or its bytes.
        threads: Processor threads; None takes those that this process may run on, up to eight.
        providers: ONNX Runtime's execution providers in order of preference, such as `["CUDAExecutionProvider"]`; None
            takes the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no model of ours, or damaged, or of another format version, or reads other files; or a
            provider is not there.

    Example:
    >>> from speechrnn.tasks.recognition.transcription import DEFAULT_MODEL
    >>> session = Session(DEFAULT_MODEL)
    >>> session.sample_rate, len(session.vocabulary)
    (16000, 28)
    >>> session.logits([np.zeros(16000, "float32")])[0].shape
    (25, 28)
    """

    held = "recognizer"
    noun = "recogniser of whole signals"
    hints: ClassVar = {"classifier": " Run it with `speechrnn classify`."}

    def _prepare(self) -> None:
        self.vocabulary = Vocabulary.from_config(self.metadata["vocabulary"])

    @property
    def providers(self) -> list[str]:
        """The execution providers in use."""
        return self._session.get_providers()

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`; nothing of the padding is left.
        """
        if not self.feature_frames(max(map(len, signals), default=0)):
            return [np.zeros((0, len(self.vocabulary)), "float32") for _ in signals]
        logits, frames = self._run(["logits", "frames"], signals)
        return [row[:count] for row, count in zip(logits, frames, strict=True)]


def start(content: bytes, name: str, *, threads: int | None = None, providers: Sequence[str] | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a model that was checked, quiet on standard error.

    Raises:
        ValueError: A provider is not there, `threads` is not positive, or ONNX Runtime cannot run the model.
    """
    import onnxruntime

    wanted = list(providers or ["CPUExecutionProvider"])
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in wanted if provider not in available]
    if missing:
        raise ValueError(
            f"ONNX Runtime must have the provider. Received: {missing[0]!r}; here are {', '.join(available)}. "
            "For CUDA install onnxruntime-gpu."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Said even where it is the default: ONNX Runtime would bind threads to cores, some of which may not be ours.
    options.intra_op_num_threads = _thread_count(threads)
    options.inter_op_num_threads = 1
    if "CPUExecutionProvider" not in wanted:
        wanted.append("CPUExecutionProvider")  # for what another one lacks
    try:
        return onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises classes of its own that have nothing else in common
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot run it: {reason}") from error


def _thread_count(wanted: int | None) -> int:
    """The threads that are asked for, or one for each core that this process may run on."""
    if wanted is not None and wanted < 1:
        raise ValueError(f"`threads` must be at least 1. Received: {wanted}.")
    affinity = getattr(os, "sched_getaffinity", None)
    return wanted or min(_MOST_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)
