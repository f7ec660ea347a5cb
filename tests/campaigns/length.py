"""Long inputs in bounded memory: hours of audio of every container, a day of a sensor, a manifest of a million lines.

`python -m tests.campaigns.length --hours 10` reads ten hours from FLAC, WAV, MP3, Opus and a pipe, 24 hours of eight
channels at 1 kHz from a NPZ and an EDF file, and a manifest of a million lines; `--hours 0.1` does a hundredth of it.
Every one is read in a process of its own, once at its length and once at a tenth of it. What is read is counted, its
first and last second are compared with what was written, and the peak of memory beyond what the process had must stay
under 400 MB, and for audio be flat: at most 40 MB above that of the tenth.
"""

import argparse
import functools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speechrnn import audio, signals
from speechrnn.data import manifest
from tests.recordings import write_edf

RATE = 16000
MOST, FLAT = 400, 40
"""Megabytes."""
_CODINGS = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"),
    "pipe": ("WAV", "PCM_16"),
}  # fmt: skip
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
    part = path.read_bytes() if parts > 1 else b""
    with open(path, "ab") as out:
        for _ in range(parts - 1):
            out.write(part)


def read_audio(path: Path, kind: str, minutes: int) -> str:
    """Read it in blocks; gives what is wrong."""
    source: Any = path
    if kind == "pipe":
        receiving, sending = os.pipe()
        threading.Thread(target=_send, args=(path, sending), daemon=True).start()
        source = os.fdopen(receiving, "rb")
    count, first, last = 0, np.zeros(0, "float32"), np.zeros(0, "float32")
    for block in audio.read_blocks(source):
        first = block[:RATE] if not count else first
        last = np.concatenate([last, block])[-RATE:]
        count += len(block)
    parts = 1 if kind in _EXACT else max(1, minutes // _PART)
    wanted = minutes // parts * parts * 60 * RATE
    if count != wanted and not (kind == "mp3" and wanted <= count <= wanted + 4 * 1152 * parts):
        return f"{count:,} samples, and not {wanted:,}"
    if kind in _EXACT:
        for found, there in ((first, _minute(0)[:RATE]), (last, _minute(minutes - 1)[-RATE:])):
            if not np.allclose(found, there, atol=1 / 32767):
                return "the first or the last second is another"
    return ""


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
    signal[:] = values[:, None] + np.arange(8)
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


def write_lines(path: Path, kind: str, thousands: int) -> None:
    """A manifest of so many thousand lines."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(thousands * 1000):
            entry = {"path": f"wav/r{number}.flac", "duration": 1.5, "text": f"text {number}"}
            file.write(json.dumps(entry) + "\n")


def read_lines(path: Path, kind: str, thousands: int) -> str:
    """All of it."""
    examples = manifest.read(path)
    if len(examples) != thousands * 1000 or examples[-1].text != f"text {thousands * 1000 - 1}":
        return f"{len(examples):,} lines"
    return ""


def measured(read: Callable[[Path, str, int], str], path: Path, kind: str, amount: int) -> tuple[str, float, float]:
    """What is wrong, megabytes at the peak beyond those at the beginning, and seconds of the processor.

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
    before, started = _peak(), time.process_time()
    try:
        wrong = read(path, kind, amount)
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    sending.send((wrong, _peak() - before, time.process_time() - started))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def campaign(hours: float, kinds: Sequence[str], folder: Path) -> list[str]:
    """Write, read and measure; gives the lines of a table, findings marked."""
    minutes = max(2, round(60 * hours))
    amounts = {"npz": round(minutes * 2.4), "edf": round(minutes * 2.4), "manifest": max(1, round(minutes / 0.6))}
    lines = ["| what | amount | peak, MB | of a tenth | seconds | |", "| --- | --- | --- | --- | --- | --- |"]
    for kind in kinds:
        write, read = {"npz": (write_sensor, read_sensor), "edf": (write_sensor, read_sensor)}.get(
            kind, (write_lines, read_lines) if kind == "manifest" else (write_audio, read_audio)
        )
        amount = amounts.get(kind, minutes)
        found = []
        for part in (max(1, amount // 10), amount):
            path = folder / f"long.{'jsonl' if kind == 'manifest' else 'wav' if kind == 'pipe' else kind}"
            write(path, kind, part)
            found.append(measured(read, path, kind, part))
            path.unlink()
        (wrong_tenth, tenth, _), (wrong, peak, seconds) = found
        most = MOST if kind != "manifest" else 4 * MOST  # its lines are examples in memory
        told = wrong or wrong_tenth
        if not told and (peak > most or (kind in _CODINGS and peak > tenth + FLAT)):
            told = "takes too much memory"
        unit = "thousand lines" if kind == "manifest" else "minutes"
        lines.append(f"| {kind} | {amount:,} {unit} | {peak:.0f} | {tenth:.0f} | {seconds:.0f} | {told} |")
        print(lines[-1], flush=True)
    return lines


KINDS = [*_CODINGS, "npz", "edf", "manifest"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the campaign; 1 if it found anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.length", description="Reads long inputs.")
    parser.add_argument("--hours", type=float, default=10.0, help="of audio (default: 10); the rest grows with it")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        lines = campaign(given.hours, given.kinds, Path(folder))
    return 1 if any(not line.endswith(("|  |", "| |")) and "---" not in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
