"""Long inputs in bounded memory: hours of audio of every container, a day of a sensor, a manifest of a million lines.

`python -m tests.campaigns.length --hours 10` reads ten hours from FLAC, WAV, MP3 with and without a Xing header, Opus
and a pipe, transcribes them with the features of the model that ships (`hear-...`; its network is left out, which
would take hours), reads 24 hours of eight channels at 1 kHz from a NPZ and an EDF file and classifies the latter, and
reads, checks and begins to train on a manifest of a million lines; `--hours 0.1` does a hundredth of it. Every one is
read in a process of its own, once at its length and once at a tenth of it. What is read is counted, its first and last
second are compared with what was written, and the peak of memory beyond what the process had must stay under 400 MB,
and for audio be flat: at most 40 MB above that of the tenth. What has to hold its input has a limit of its own.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.resources
import io
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.measuring import peak_memory
from speechrnn import audio, cli, signals
from speechrnn.audio import mpeg
from speechrnn.data import manifest
from speechrnn.runtime import onnxfile
from tests.recordings import write_edf

RATE = 16000
MOST, FLAT = 400, 40
"""Megabytes."""
_CODINGS = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "mp3-bare": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "pipe": ("WAV", "PCM_16"),
}  # fmt: skip
_SHIPPED = "english_letters_numbers.onnx"
_EXACT = {"wav", "flac", "pipe"}
_PART = 10
"""Minutes of MP3 and Opus that are encoded, which takes long; the file is made of such parts, one behind the other."""


def _minute(number: int) -> np.ndarray:
    """One minute of noise, and of a tone whose pitch tells which minute it is."""
    return _noise() + 0.3 * np.sin(2 * np.pi * (200 + number % 500) * np.arange(60 * RATE) / RATE).astype("float32")


@functools.cache
def _noise() -> np.ndarray:
    return 0.05 * np.random.default_rng(0).standard_normal(60 * RATE, "float32")


def write_audio(path: Path, kind: str, minutes: int) -> None:
    """Write so many minutes."""
    container, coding = _CODINGS[kind]
    parts = 1 if kind in _EXACT else max(1, minutes // _PART)
    with soundfile.SoundFile(path, "w", RATE, 1, coding, format=container) as file:
        for number in range(minutes // parts):
            file.write(_minute(number))
    part = path.read_bytes() if parts > 1 or kind == "mp3-bare" else b""
    if kind == "mp3-bare":
        part = part[mpeg.frame_size(part) :]  # without its Xing header
        path.write_bytes(part)
    with open(path, "ab") as out:
        for _ in range(parts - 1):
            out.write(part)


def _source(path: Path, kind: str) -> Any:
    if kind != "pipe":
        return path
    receiving, sending = os.pipe()
    threading.Thread(target=_send, args=(path, sending), daemon=True).start()
    return os.fdopen(receiving, "rb")


def read_audio(path: Path, kind: str, minutes: int) -> str:
    """Read it in blocks; gives what is wrong."""
    source = _source(path, kind)
    count, first, last = 0, np.zeros(0, "float32"), np.zeros(0, "float32")
    for block in audio.read_blocks(source):
        first = block[:RATE] if not count else first
        last = np.concatenate([last, block])[-RATE:]
        count += len(block)
    parts = 1 if kind in _EXACT else max(1, minutes // _PART)
    wanted = minutes // parts * parts * 60 * RATE
    if count != wanted and not (kind.startswith("mp3") and wanted <= count <= wanted + 4 * 1152 * parts):
        return f"{count:,} samples, and not {wanted:,}"
    if kind in _EXACT:
        for found, there in ((first, _minute(0)[:RATE]), (last, _minute(minutes - 1)[-RATE:])):
            if not np.allclose(found, there, atol=1 / 32767):
                return "the first or the last second is another"
    return ""


def hear(path: Path, kind: str, minutes: int) -> str:
    """Transcribe it with a model that hears nothing; gives what is wrong."""
    from speechrnn import load
    from speechrnn.tasks.recognition.transcription import outcomes

    model = load(path.parent / "ears.onnx", threads=1)
    (found,) = outcomes(model, [_source(path, kind)])
    if not getattr(found, "ok", False):
        return str(getattr(found, "message", found))
    parts = 1 if kind in _EXACT else max(1, minutes // _PART)
    off = found.duration - minutes // parts * parts * 60
    return "" if -0.01 < off < 0.3 * parts + 0.01 and not found.text else f"{found.duration} s, {found.text!r:.60}"


def write_ears(path: Path) -> None:
    """The shipped model without its network: features, and logits by which nothing is ever said."""
    import onnx

    model = onnx.load_from_string(importlib.resources.files("speechrnn.pretrained").joinpath(_SHIPPED).read_bytes())
    graph = model.graph
    features = {name for node in graph.node for name in node.output if name.startswith("features/")}
    beyond = [node for node in graph.node if not node.output[0].startswith("features/")]
    (spectrum,) = {name for node in beyond if node.op_type == "Where" for name in features.intersection(node.input)}
    about = {entry.key.removeprefix(onnxfile.PREFIX): json.loads(entry.value) for entry in model.metadata_props}
    about = {**about, "precision": "float32"}
    about.pop("digest", None)
    symbols = 1 + len(about["vocabulary"]["symbols"])
    values = {
        "first": np.array([0]), "last": np.array([2**31]), "frames": np.array([1]),
        "stride": np.array([about["stride"]]), "zero": np.array(0, "float32"),
        "blank": np.where(np.arange(symbols), -9, 9).astype("float32"),
    }  # fmt: skip
    graph.initializer.extend(onnx.numpy_helper.from_array(array, f"ears/{name}") for name, array in values.items())
    for node in [node for node in beyond if "logits" in node.output]:  # what is before it, is not run any more
        graph.node.remove(node)
    steps = [
        ("Slice", [spectrum, *(f"ears/{name}" for name in ("first", "last", "frames", "stride"))], "ears/some", {}),
        ("ReduceMax", ["ears/some"], "ears/most", {"axes": [2]}),
        ("Mul", ["ears/most", "ears/zero"], "ears/none", {}),
        ("Add", ["ears/none", "ears/blank"], "logits", {}),
    ]
    graph.node.extend(onnx.helper.make_node(kind, inputs, [output], **how) for kind, inputs, output, how in steps)
    onnx.helper.set_model_props(model, {onnxfile.PREFIX + key: json.dumps(value) for key, value in about.items()})
    path.write_bytes(onnxfile.with_digest(model))


def _send(path: Path, to: int) -> None:
    with open(path, "rb") as file, os.fdopen(to, "wb") as pipe:
        while block := file.read(1 << 16):
            pipe.write(block)


def write_sensor(path: Path, kind: str, minutes: int) -> None:
    """Eight channels at 1 kHz."""
    count = minutes * 60_000
    values = (np.arange(count) % 20_000 - 10_000).astype(np.int16)
    if kind == "edf":  # every minute is the same
        one = values[:60_000]
        write_edf(path, [one + channel for channel in range(8)], [1000] * 8, [f"c{n}" for n in range(8)])
        head, body = (whole := path.read_bytes())[: 256 * 9], whole[256 * 9 :]
        with open(path, "wb") as file:
            file.write(head[:236] + str(60 * minutes).ljust(8).encode() + head[244:])
            for _ in range(minutes):
                file.write(body)
        return
    signal = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.float32, (count, 8))
    for start in range(0, count, 60_000):
        signal[start : start + 60_000] = values[start : start + 60_000, None] + np.arange(8)
    np.savez(path, signal=signal, rate=1000.0)
    path.with_suffix(".npy").unlink()


def read_sensor(path: Path, kind: str, minutes: int) -> str:
    """Its length, and a minute from its beginning, its middle and its end."""
    info = signals.probe(path)
    if round(info.duration) != minutes * 60 or len(info.channels) != 8:
        return f"{info.duration} s of {len(info.channels)} channels"
    for start in (0, minutes // 2, minutes - 1):
        found, _ = signals.read(path, offset=60.0 * start, duration=60.0)
        wanted = (np.arange(60_000 * start, 60_000 * (start + 1)) % 20_000 - 10_000)[:, None] + np.arange(8)
        if not np.allclose(found * (10 if kind == "edf" else 1), wanted, atol=2):
            return f"minute {start} is another"
    return ""


def classify(path: Path, kind: str, minutes: int) -> str:
    """A class for every ten seconds of it."""
    from speechrnn import load
    from speechrnn.tasks.classification.classify import outcomes

    (found,) = outcomes(load(path.parent / "stages.onnx", threads=1), [path])
    if not getattr(found, "ok", False):
        return str(getattr(found, "message", found))
    return "" if found.probabilities.shape == (minutes * 6, 3) else f"probabilities {found.probabilities.shape}"


def write_stages(path: Path) -> None:
    """A classifier of each ten seconds of eight channels at 50 Hz, which has learned nothing."""
    from speechrnn import RawSignal, SequenceClassifier, recurrent_classifier
    from speechrnn.features.filter_layers import BandPass

    features = RawSignal(50, window=500, hop=500, channels=8, filters=[BandPass(50, low=0.3, high=20)])
    network = recurrent_classifier(
        "gru", num_features=4000, num_classes=3, frame_shape=(500, 8), frame_convolutions=4, filters=8, kernel=5,
        units=8, layers=1, pooling=None,
    )  # fmt: skip
    SequenceClassifier(features, network, ["a", "b", "c"]).export(path)


def write_lines(path: Path, kind: str, thousands: int) -> None:
    """A manifest of so many thousand lines, of a hundred recordings."""
    wav = path.parent / "wav"
    wav.mkdir(exist_ok=True)
    for number in range(100):
        audio.write(wav / f"r{number}.wav", _noise()[number : number + 1600], 8000, overwrite=True)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(thousands * 1000):
            entry = {"path": f"wav/r{number % 100}.wav", "duration": 0.2, "text": f"t {number % 7}", "id": f"e{number}"}
            file.write(json.dumps(entry) + "\n")


def read_lines(path: Path, kind: str, thousands: int) -> str:
    """All of it."""
    examples = manifest.read(path)
    if len(examples) != thousands * 1000 or examples[-1].id != f"e{thousands * 1000 - 1}":
        return f"{len(examples):,} lines"
    return ""


def check_lines(path: Path, kind: str, thousands: int) -> str:
    """`check-manifest`: every recording is decoded."""
    with contextlib.redirect_stdout(io.StringIO()) as told:
        code = cli.main(["check-manifest", str(path), "--sample-rate", "8000", "--stride", "1"])
    good = f"{thousands * 1000:,} usable" in told.getvalue()
    return "" if not code and good else f"exit code {code}: {told.getvalue()[:300]}"


def train_on_lines(path: Path, kind: str, thousands: int) -> str:
    """The beginning of `train`, up to its first batches."""
    import keras

    from speechrnn import LogMel, SpeechRecognizer, Vocabulary, recurrent_ctc, train

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise KeyboardInterrupt

    vocabulary = Vocabulary("t 0123456")
    network = recurrent_ctc("gru", num_features=40, vocabulary_size=len(vocabulary), units=8, layers=1)
    model = SpeechRecognizer(LogMel(8000, window=200, hop=80, num_mels=40), network, vocabulary)
    run = train(model, path, out=path.parent / "m.keras", callbacks=[Stop()], verbose=False, overwrite=True)
    return "" if run.interrupted else "the first batches did not come"


@dataclass(frozen=True)
class Input:
    """Something long."""

    write: Callable[[Path, str, int], None]
    read: Callable[[Path, str, int], str]
    """Gives what is wrong."""
    unit: str = "minutes"
    per_hour: float = 60
    """Units where an hour of audio is asked for."""
    most: float = MOST
    """Megabytes that it may take at the peak, for ten hours."""
    flat: float | None = FLAT
    """Megabytes that it may take more than a tenth of it; None where it grows."""
    ending: str = ""
    """Of the file; nothing for the kind's name."""
    model: tuple[str, Callable[[Path], None]] | None = None
    """A model that reading needs beside the file: its name, and what writes it."""

    def file(self, kind: str, folder: Path) -> Path:
        """Where it is written."""
        return folder / f"long.{self.ending or {'mp3-bare': 'mp3', 'pipe': 'wav'}.get(kind, kind)}"


_EARS = ("ears.onnx", write_ears)
INPUTS = {
    **{kind: Input(write_audio, read_audio) for kind in _CODINGS},
    **{f"hear-{kind}": Input(write_audio, hear, flat=60, model=_EARS) for kind in _CODINGS},
    "npz": Input(write_sensor, read_sensor, per_hour=144, flat=None),
    "edf": Input(write_sensor, read_sensor, per_hour=144, flat=None),
    "classify-edf": Input(
        write_sensor, classify, per_hour=144, flat=None, most=1600, model=("stages.onnx", write_stages)
    ),
    "manifest": Input(write_lines, read_lines, "thousand lines", 100, 1600, flat=None, ending="jsonl"),
    "check-manifest": Input(write_lines, check_lines, "thousand lines", 100, 1600, flat=None, ending="jsonl"),
    "train": Input(write_lines, train_on_lines, "thousand lines", 100, 2400, flat=None, ending="jsonl"),
}


def measured(
    read: Callable[[Path, str, int], str], path: Path, kind: str, amount: int
) -> tuple[str, float, float, float]:
    """What is wrong, megabytes at the peak beyond those at the beginning and in all, and seconds of the processor.

    In a process of its own.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe()
    process = context.Process(target=_measure, args=(sending, read, path, kind, amount))
    process.start()
    sending.close()
    found = receiving.recv()
    process.join()
    return found


def _measure(
    sending: "multiprocessing.connection.Connection", read: Callable[..., str], path: Path, kind: str, amount: int
) -> None:
    audio.resample(np.zeros(RATE, "float32"), RATE, RATE // 2)  # imports what reads
    if read is train_on_lines:
        importlib.import_module("speechrnn.training")
    before, started = peak_memory(), time.process_time()
    try:
        wrong = read(path, kind, amount)
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    sending.send((wrong, (peak_memory() - before) / 2**20, peak_memory() / 2**20, time.process_time() - started))


_HEAD = (
    "| what | amount | peak, MB | of a tenth | whole process | seconds | |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def campaign(hours: float, kinds: Sequence[str], folder: Path) -> list[str]:
    """Write, read and measure; gives the lines of a table, findings marked."""
    lines = list(_HEAD)
    for name in kinds:
        one, kind = INPUTS[name], name.removeprefix("hear-").removeprefix("classify-")
        amount = max(2, round(hours * one.per_hour))
        path, found = one.file(kind, folder), []
        if one.model is not None and not (folder / one.model[0]).exists():
            one.model[1](folder / one.model[0])
        for part in (max(1, amount // 10), amount):
            one.write(path, kind, part)
            found.append(measured(one.read, path, kind, part))
            path.unlink()
        (wrong_tenth, tenth, *_), (wrong, peak, process, seconds) = found
        told = wrong or wrong_tenth
        if not told and (peak > one.most or (one.flat is not None and peak > tenth + one.flat)):
            told = "takes too much memory"
        lines.append(
            f"| {name} | {amount:,} {one.unit} | {peak:.0f} | {tenth:.0f} | {process:.0f} | {seconds:.0f} | {told} |"
        )
        print(lines[-1], flush=True)
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the campaign; 1 if it found anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.length", description="Reads long inputs.")
    parser.add_argument("--hours", type=float, default=10.0, help="of audio (default: 10); the rest grows with it")
    parser.add_argument("--kinds", nargs="+", choices=list(INPUTS), default=list(INPUTS), help="which")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        lines = campaign(given.hours, given.kinds, Path(folder))
    return 1 if any(not line.endswith(("|  |", "| |")) and "---" not in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
