"""Sessions: exported models run by ONNX Runtime or LiteRT, without importing TensorFlow or Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from speechrnn.faults import file_faults
from speechrnn.files import replacing
from speechrnn.runtime import litert, onnxfile
from speechrnn.runtime.batches import padded
from speechrnn.text import Vocabulary

__all__ = ["Session", "cores", "read", "start"]

_MAX_THREADS = 8
"""More threads than this make a small network slower."""

ModelFile = onnxfile.OnnxFile | litert.LiteRtFile


class Session:
    """A model that `speechrnn export` wrote, ready to run; a subclass defines what the outputs mean.

    Args:
        model: The file's path, its bytes, or the result of `read`.
        threads: Processor threads; None uses one per core that this process may run on, up to eight.
        providers: ONNX Runtime's execution providers in order of preference, such as `["CUDAExecutionProvider"]`; None
            uses the CPU.

    Raises:
        FileNotFoundError: The file does not exist.
        TypeError: This base class was instantiated.
        ValueError: The file was not written by this package, is damaged, is of another kind or format version, or
            refers to other files; or a provider is not available.
    """

    file_kind: ClassVar[str]
    """The `kind` that the file's metadata must have."""
    noun: ClassVar[str]
    """Name of the kind in messages."""
    takes_signals: ClassVar[bool] = True
    """Whether the model has a sample rate, frames and a stride."""
    hint: ClassVar[str] = ""
    """What to do with a file of another kind, for the message."""
    vocabularies: ClassVar[tuple[str, ...]] = ()
    """Names of attributes that are vocabularies, as in the metadata."""

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | ModelFile,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        if type(self) is Session:
            raise TypeError("Session is what the sessions of all kinds have in common. Use speechrnn.load(path).")
        self.file = read(model) if isinstance(model, str | os.PathLike | bytes) else model
        self.metadata = self.file.metadata
        """The file's metadata."""
        self.kind = self.metadata.get("kind")
        if self.kind != self.file_kind:
            raise ValueError(f"{self.file.name}: must hold a {self.noun}. Received: {self.kind!r}.{self.hint}")
        with file_faults(self.file.name):
            if self.takes_signals:
                self._check()
            self.require("card", lambda card: isinstance(card, dict), "be an object")
            self.card: dict[str, Any] = self.metadata["card"]
            for name in self.vocabularies:
                setattr(self, name, Vocabulary.from_config(self.metadata[name]))
            self._prepare()
        # In 8 bits ONNX Runtime uses one scale for a whole batch, padding included, so that an answer would depend on
        # its neighbors. So rows run separately, as many at a time as there are threads, which is as fast.
        self._rows_at_once = 0
        if self.metadata.get("precision") == "int8" and isinstance(self.file, onnxfile.OnnxFile):
            self._rows_at_once, threads = _thread_count(threads), 1
        self._session = start(self.file, threads=threads, providers=providers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.file.name}>"

    def _prepare(self) -> None:
        """Read the metadata that only models of this kind have."""

    def _check(self) -> None:
        """Check the metadata of models of signals.

        Raises:
            ValueError, KeyError: A value is out of its range, or missing.
        """
        for name in ("sample_rate", "frame_period", "stride", "window", "hop"):
            self.require(name, lambda n: isinstance(n, int | float) and 0 < n < float("inf"), "be positive")

    def require(self, name: str, is_valid: Callable[[Any], bool], requirement: str) -> Any:
        """The value of a name in the metadata.

        Raises:
            ValueError, KeyError: The value is not valid, or missing.
        """
        value = self.metadata[name]
        if not is_valid(value):
            raise ValueError(f"its `{name}` must {requirement}. Received: {value!r:.80}")
        return value

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

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers in use."""
        return self._session.get_providers()

    def feature_frames(self, samples: int) -> int:
        """Number of feature frames in a signal of so many samples."""
        return max(0, 1 + (samples - self.metadata["window"]) // self.metadata["hop"])

    def export(self, filepath: str | os.PathLike[str], *, overwrite: bool = False) -> str:
        """Copy the model to another file.

        A session has only the exported model, which cannot be converted; for another format export the `.keras` file.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
            ValueError: The file's ending is that of another format.
        """
        ending = ".tflite" if isinstance(self.file, litert.LiteRtFile) else ".onnx"
        if os.path.splitext(os.fspath(filepath))[1] != ending:
            raise ValueError(
                f"{os.fspath(filepath)}: must end in {ending}, since this model was exported already. Export the "
                ".keras file to have another format."
            )
        with replacing(filepath, overwrite=overwrite) as file:
            file.write(self.file.content)
        return os.fspath(filepath)

    @cached_property
    def _run_options(self) -> Any:
        """Options that make ONNX Runtime compute only what the requested outputs depend on."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        return options

    @property
    def columns(self) -> int | None:
        """Columns of a signal `(samples, columns)`; None for a signal `(samples,)`."""
        return self.metadata.get("channels")

    def _run(self, outputs: Sequence[str], signals: Sequence[np.ndarray]) -> list[Any]:
        """The named outputs, with one row per signal."""
        if not self._rows_at_once:
            return self._run_batch(outputs, signals)
        if len(signals) == 1 or self._rows_at_once == 1:
            rows = [self._run_batch(outputs, [signal]) for signal in signals]
        else:
            with ThreadPoolExecutor(min(self._rows_at_once, len(signals))) as pool:
                rows = list(pool.map(lambda signal: self._run_batch(outputs, [signal]), signals))
        return [[row[0] for row in output] for output in zip(*rows, strict=True)]

    def _run_batch(self, outputs: Sequence[str], signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The named outputs for signals padded to one batch, of at least one frame."""
        batch, lengths = padded(signals, self.columns, min_length=self.metadata["window"])
        arrays = self._session.run(list(outputs), {"signal": batch, "length": lengths})
        for name, output in zip(outputs, arrays, strict=True):
            is_count = output.ndim == 1 and output.dtype.kind in "iu"
            if not (output.ndim and len(output) == len(signals) and (is_count or name != "frames")):
                raise ValueError(
                    f"{self.file.name}: its output `{name}` must have a row for each of {len(signals)} signals. "
                    f"Received: {output.dtype} of shape {output.shape}. Export the model again."
                )
        return arrays


def read(model: str | os.PathLike[str] | bytes) -> ModelFile:
    """Read and check an `.onnx` or `.tflite` file that `speechrnn export` wrote.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: It was not written by this package, or is damaged.
    """
    if not isinstance(model, bytes):
        onnxfile.check_path(model)
    return litert.read(model) if litert.is_litert(model) else onnxfile.read(model)


def start(file: ModelFile, *, threads: int | None = None, providers: Sequence[str] | None = None) -> Any:
    """Start ONNX Runtime, or LiteRT, with a model that `read` returned.

    Raises:
        ValueError: A provider is not available, `threads` is not positive, or the runtime cannot run the model.
    """
    if isinstance(file, litert.LiteRtFile):
        return litert.Runner(file, _thread_count(threads or 1))
    import onnxruntime

    providers = list(providers or ["CPUExecutionProvider"])
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in providers if provider not in available]
    if missing:
        raise ValueError(
            f"ONNX Runtime must have the provider. Received: {missing[0]!r}; here are {', '.join(available)}. "
            "For CUDA install onnxruntime-gpu."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Also set to the default, since ONNX Runtime would otherwise bind threads to cores that this process may not use.
    options.intra_op_num_threads = _thread_count(threads)
    options.inter_op_num_threads = 1
    if "CPUExecutionProvider" not in providers:
        providers.append("CPUExecutionProvider")  # for operators that the others lack
    try:
        content = onnxfile.without_attachments(file.content)
        return OnnxSession(onnxruntime.InferenceSession(content, options, providers=providers), file.name)
    except Exception as error:
        raise _cannot_run(file.name, error) from error


class OnnxSession:
    """An `onnxruntime.InferenceSession` whose errors name the file.

    Args:
        session: The session.
        name: Name of the file.
    """

    def __init__(self, session: Any, name: str) -> None:
        self._session, self._name = session, name

    def get_providers(self) -> list[str]:
        """The execution providers in use."""
        return self._session.get_providers()

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray], options: Any = None
    ) -> list[np.ndarray]:
        """Run the model.

        Args:
            outputs: Names of the outputs to return; None returns all.
            inputs: Inputs by name.
            options: An `onnxruntime.RunOptions`.

        Raises:
            ValueError: ONNX Runtime cannot run the graph on these inputs.
        """
        try:
            return self._session.run(outputs, inputs, options)
        except Exception as error:
            raise _cannot_run(self._name, error) from error


def _cannot_run(name: str, error: Exception) -> ValueError:
    """Convert an error of ONNX Runtime, whose classes have no common base class, to a `ValueError`."""
    import onnxruntime

    reason = str(error).strip().partition("\n")[0]
    return ValueError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot run it: {reason}")


def _thread_count(threads: int | None) -> int:
    """The given number of threads, or one for each core that this process may run on, up to `_MAX_THREADS`."""
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` must be at least 1. Received: {threads}.")
    return threads or min(_MAX_THREADS, cores())


def cores() -> int:
    """Number of processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
