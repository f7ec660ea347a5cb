"""Sessions: exported models run by ONNX Runtime or LiteRT, and neither TensorFlow nor Keras is started."""

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

_MOST_THREADS = 8
"""More threads than this cost a small network more than they bring."""

ModelFile = onnxfile.OnnxFile | litert.LiteRtFile


class Session:
    """A model that `speechrnn export` wrote, ready to run; a subclass knows what comes out.

    Args:
        model: The file's path, its bytes, or the file as it was read.
        threads: Processor threads; None takes those that this process may run on, up to eight.
        providers: ONNX Runtime's execution providers in order of preference, such as `["CUDAExecutionProvider"]`; None
            takes the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: This class itself was called.
        ValueError: The file is no model of ours, or one of another kind, or damaged, or of another format version, or
            reads other files; or a provider is not there.
    """

    holds: ClassVar[str]
    """What the metadata of the file must call it."""
    noun: ClassVar[str]
    """That in words."""
    takes_signals: ClassVar[bool] = True
    """Whether the model has a rate, frames and a stride."""
    hint: ClassVar[str] = ""
    """What to do with a file that holds something else."""
    vocabularies: ClassVar[tuple[str, ...]] = ()
    """Names of attributes that are vocabularies; the metadata describe them."""

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
        """What the file says of itself."""
        self.kind = self.metadata.get("kind")
        if self.kind != self.holds:
            raise ValueError(f"{self.file.name}: must hold a {self.noun}. Received: {self.kind!r}.{self.hint}")
        with file_faults(self.file.name):
            if self.takes_signals:
                self._check()
            self.require("card", lambda card: isinstance(card, dict), "be an object")
            self.card: dict[str, Any] = self.metadata["card"]
            for name in self.vocabularies:
                setattr(self, name, Vocabulary.from_config(self.metadata[name]))
            self._prepare()
        # In 8 bits ONNX Runtime takes one scale for a whole batch, padding counted, so that an answer would depend on
        # its neighbors. There rows run apart, as many at once as there are threads: it takes no longer.
        self._rows_at_once = 0
        if self.metadata.get("precision") == "int8" and isinstance(self.file, onnxfile.OnnxFile):
            self._rows_at_once, threads = _thread_count(threads), 1
        self._session = start(self.file, threads=threads, providers=providers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.file.name}>"

    def _prepare(self) -> None:
        """Reads what only models of this kind say of themselves."""

    def _check(self) -> None:
        """Raises: ValueError, KeyError: What the file says makes no sense."""
        for name in ("sample_rate", "frame_period", "stride", "window", "hop"):
            self.require(name, lambda n: isinstance(n, int | float) and 0 < n < float("inf"), "be positive")

    def require(self, name: str, holds: Callable[[Any], bool], requirement: str) -> Any:
        """What the file says of itself under a name.

        Raises:
            ValueError, KeyError: `holds` is false of the value of a name, or there is none.
        """
        value = self.metadata[name]
        if not holds(value):
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
        """Frames of features in a signal of that many samples."""
        return max(0, 1 + (samples - self.metadata["window"]) // self.metadata["hop"])

    def export(self, filepath: str | os.PathLike[str], *, overwrite: bool = False) -> str:
        """Write the model to another file, as it is.

        A session holds what was exported, so that it cannot become another format; export the `.keras` file for that.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
            ValueError: The ending is that of another format.
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
    def _asked(self) -> Any:
        """Makes ONNX Runtime compute only what the outputs that are asked for need, of a graph with several halves."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        return options

    @property
    def columns(self) -> int | None:
        """Columns of a signal `(samples, columns)`; None for `(samples,)`."""
        return self.metadata.get("channels")

    def _run(self, outputs: Sequence[str], signals: Sequence[np.ndarray]) -> list[Any]:
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
        batch, lengths = padded(signals, self.columns, least=self.metadata["window"])
        found = self._session.run(list(outputs), {"signal": batch, "length": lengths})
        for name, output in zip(outputs, found, strict=True):
            counts = name != "frames" or (output.ndim == 1 and output.dtype.kind in "iu")
            if not (output.ndim and len(output) == len(signals) and counts):
                raise ValueError(
                    f"{self.file.name}: its output `{name}` must have a row for each of {len(signals)} signals. "
                    f"Received: {output.dtype} of shape {output.shape}. Export the model again."
                )
        return found


def read(model: str | os.PathLike[str] | bytes) -> ModelFile:
    """Read and check a file that `speechrnn export` wrote, of either format; see their modules.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: It is no model of ours, or damaged.
    """
    if not isinstance(model, bytes):
        onnxfile.check_path(model)
    return litert.read(model) if litert.is_litert(model) else onnxfile.read(model)


def start(file: ModelFile, *, threads: int | None = None, providers: Sequence[str] | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a model that was checked, or what runs a LiteRT model in its place.

    Raises:
        ValueError: A provider is not there, `threads` is not positive, or ONNX Runtime cannot run the model.
    """
    if isinstance(file, litert.LiteRtFile):
        return litert.Runner(file, _thread_count(threads or 1))
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
        content = onnxfile.without_attachments(file.content)
        return Started(onnxruntime.InferenceSession(content, options, providers=wanted), file.name)
    except Exception as error:
        raise _cannot_run(file.name, error) from error


class Started:
    """An `onnxruntime.InferenceSession` whose errors name the file.

    Args:
        session: The session.
        name: Of the file.
    """

    def __init__(self, session: Any, name: str) -> None:
        self._session, self._name = session, name

    def get_providers(self) -> list[str]:
        """The execution providers in use."""
        return self._session.get_providers()

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray], options: Any = None
    ) -> list[np.ndarray]:
        """Outputs by their names, all of them for None.

        Args:
            outputs: Their names.
            inputs: By name.
            options: An `onnxruntime.RunOptions` of this run.

        Raises:
            ValueError: ONNX Runtime cannot run the graph on these inputs.
        """
        try:
            return self._session.run(outputs, inputs, options)
        except Exception as error:
            raise _cannot_run(self._name, error) from error


def _cannot_run(name: str, error: Exception) -> ValueError:
    """ONNX Runtime raises classes of its own that have nothing else in common."""
    import onnxruntime

    reason = str(error).strip().partition("\n")[0]
    return ValueError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot run it: {reason}")


def _thread_count(wanted: int | None) -> int:
    """The threads that are asked for, or one for each core that this process may run on."""
    if wanted is not None and wanted < 1:
        raise ValueError(f"`threads` must be at least 1. Received: {wanted}.")
    return wanted or min(_MOST_THREADS, cores())


def cores() -> int:
    """Processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
