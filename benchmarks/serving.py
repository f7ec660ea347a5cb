"""The server under load: many clients at once, against a server that answers one request at a time.

    python -m benchmarks.serving [--clients 100] [--requests 3] [--rounds 2] [--json]
    python -m benchmarks.serving --soak 10        # minutes, with rude clients among the others
    python -m benchmarks.serving --streams        # clients of Vosk's WebSocket, whose blocks run as one batch or alone

Both servers are this package's, each a process of its own on the loopback address: `batched` as it comes, and `one at a
time` with `--at-once 1 --gather 0`, which is the design of servers that hold a lock around the model. They take turns.
Every answer is compared with what `speechrnn transcribe` gives for the recording alone; one that differs counts as
lost. Streams are read by a model in float32 of the size of the one that ships, with weights at random; what it writes
is compared, too. The soak runs `batched` alone, and beside the clients some that send rubbish, leave within an upload
or a word, or read nothing; it ends after the minutes that are given, 30 at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from websockets.asyncio.client import connect

import speechrnn as sr
from speechrnn.models import loading
from speechrnn.serving.utterances import Endpointing, UtteranceRecognizer

ROOT = Path(__file__).resolve().parents[1]
CLIPS = sorted((ROOT / "data" / "spoken_numbers" / "test").glob("*.opus"))
MODEL = "english_letters_numbers"
STREAMING = {"streams together": [], "each stream alone": ["--streams-together", "1"]}
PORTION = 0.2
"""Seconds of audio in a message of a stream."""
SERVERS = {"batched": [], "one at a time": ["--at-once", "1", "--gather", "0"]}
RECORDINGS, RUDE, MOST_MINUTES = 40, 8, 30


@dataclass
class Load:
    """What clients saw of a server."""

    seconds: float = 0.0
    audio: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)
    """What went wrong, and how often."""
    latencies: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """Resident megabytes, in turn."""

    def to_dict(self, name: str) -> dict:
        p50, p95 = np.percentile(self.latencies, [50, 95])
        return {
            "name": name,
            "requests": len(self.latencies),
            "lost": sum(self.lost.values()),
            **({"because": dict(self.lost)} if self.lost else {}),
            "requests_per_second": round(len(self.latencies) / self.seconds, 2),
            "times_real_time": round(self.audio / self.seconds, 1),
            "p50_s": round(float(p50), 3),
            "p95_s": round(float(p95), 3),
            "memory_mb": [round(value) for value in self.memory],
        }


@dataclass(frozen=True)
class Recording:
    """A recording as a client sends it, and what it says."""

    content: bytes
    text: str
    duration: float


def recordings() -> list[Recording]:
    """Recordings of one to eight spoken numbers, from half a second to some seconds."""
    rng, found = np.random.default_rng(0), []
    model = sr.load(MODEL)
    for _ in range(RECORDINGS):
        chosen = [CLIPS[i] for i in rng.integers(len(CLIPS), size=rng.integers(1, 9))]
        signal = np.concatenate([sr.audio.read(path, sample_rate=16000)[0] for path in chosen])
        file = io.BytesIO()
        soundfile.write(file, signal, 16000, format="FLAC")
        said = model.transcribe(io.BytesIO(file.getvalue()))
        found.append(Recording(file.getvalue(), said.text, said.duration))
    return found


@contextlib.contextmanager
def server(*words: str) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    command = [sys.executable, "-u", "-m", "speechrnn", "serve", "--port", "0", "--model", MODEL, *words]
    with tempfile.NamedTemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        told = Path(log.name)
        try:
            while not (found := re.search(r"http://\S+:(\d+)", told.read_text())):
                if process.poll() is not None:
                    raise RuntimeError(told.read_text())
                time.sleep(0.1)
            yield int(found[1])
        finally:
            process.terminate()


def message(content: bytes) -> bytes:
    """A request with a recording."""
    edge = secrets.token_hex(12)
    body = (
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="a.flac"\r\n\r\n'.encode()
        + content
        + f"\r\n--{edge}--\r\n".encode()
    )
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary={edge}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    size = int(re.search(r"content-length: (\d+)", head, re.I)[1])
    return int(head.split()[1]), await reader.readexactly(size)


async def client(port: int, mine: list[Recording], load: Load, end: float = float("inf")) -> None:
    """Asks for one recording after the other, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for recording in mine:
        if time.perf_counter() > end:
            break
        start = time.perf_counter()
        try:
            writer.write(message(recording.content))
            status, body = await asyncio.wait_for(answer(reader), 120)
            if status != 200:
                load.lost[f"status {status}"] += 1
            elif json.loads(body)["text"] != recording.text:
                load.lost["another text"] += 1
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            load.lost[type(error).__name__] += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        load.latencies.append(time.perf_counter() - start)
        load.audio += recording.duration
    writer.close()


async def rude(port: int, kind: int, content: bytes, end: float) -> None:
    """What a client does that should not, again and again."""
    upgrade = (
        b"GET /vosk HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    audio = b"\x82\xfe\x10\x00\x00\x00\x00\x00" + bytes(4096)  # a frame of zeros
    sent = [
        message(b"no audio at all" * 50),
        message(b""),
        message(content)[: len(content) // 2],
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        upgrade + 5 * audio,
        upgrade + b"\xff\xff\xff\xff",
        upgrade + b"\x81\x85\x00\x00\x00\x00[[[[[",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
    ]
    while time.perf_counter() < end:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent[kind % len(sent)])
            await asyncio.wait_for(reader.read(100), 0.5)
            writer.transport.abort()
        await asyncio.sleep(0.2)


async def memory(port: int) -> float:
    """Resident megabytes of the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, body = await answer(reader)
    writer.close()
    return float(re.search(rb"^process_resident_memory_bytes (\S+)", body, re.M)[1]) / 1e6


def model_of_streams(folder: str) -> str:
    """The file of a model in float32, as large as the streaming one that ships, that writes nonsense."""
    text = "abcdefghijklmnopqrstuvwxyz '"
    model = sr.SpeechRecognizer.for_manifest(
        [sr.Example(path="none.wav", duration=1.0, text=text)],
        units=320, layers=3, convolutions=2, bidirectional=False, features={"normalize": None},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    logits = model.network.get_layer("logits")
    logits.kernel.assign(rng.normal(0, 0.5, logits.kernel.shape))
    return model.export(Path(folder, "float32.onnx"), streaming=True)


def said_alone(model: str, spoken: list[Recording]) -> list[str]:
    """What a stream that nobody is beside says of each recording."""
    session, found = loading.load_session(model, streaming=True), []
    for recording in spoken:
        recognizer = UtteranceRecognizer(session.new_stream, 16000, rate=16000, endpointing=Endpointing())
        samples = soundfile.read(io.BytesIO(recording.content), dtype="float32")[0]
        events = recognizer.push(samples) + recognizer.commit()
        found.append(" ".join(word.word for event in events if event.kind == "final" for word in event.words))
    return found


async def stream(port: int, mine: list[tuple[Recording, str]], load: Load) -> None:
    """Speaks as fast as it is answered, over one WebSocket of Vosk's for each recording."""
    for recording, expected in mine:
        samples = np.rint(soundfile.read(io.BytesIO(recording.content))[0] * 32767).astype("<i2")
        said = []
        async with connect(f"ws://127.0.0.1:{port}/vosk", open_timeout=60) as websocket:
            size = round(16000 * PORTION)
            for begin in range(0, len(samples), size):
                start = time.perf_counter()
                await websocket.send(samples[begin : begin + size].tobytes())
                said.append(json.loads(await websocket.recv()))
                load.latencies.append(time.perf_counter() - start)
            await websocket.send('{"eof" : 1}')
            said.append(json.loads(await websocket.recv()))
        if " ".join(one["text"] for one in said if one.get("text")) != expected:
            load.lost["another text"] += 1
        load.audio += recording.duration


async def streamed(port: int, all_of_them: list[tuple[Recording, str]], clients: int, each: int, load: Load) -> None:
    """All streams at once."""
    start, count = time.perf_counter(), len(all_of_them)
    await asyncio.gather(
        *(stream(port, [all_of_them[(7 * c + r) % count] for r in range(each)], load) for c in range(clients))
    )
    load.seconds += time.perf_counter() - start
    load.memory.append(await memory(port))


async def burst(port: int, all_of_them: list[Recording], clients: int, requests: int, load: Load) -> None:
    """All clients at once."""
    count = len(all_of_them)
    start = time.perf_counter()
    await asyncio.gather(
        *(client(port, [all_of_them[(7 * c + r) % count] for r in range(requests)], load) for c in range(clients))
    )
    load.seconds += time.perf_counter() - start
    load.memory.append(await memory(port))


async def soaked(port: int, all_of_them: list[Recording], clients: int, minutes: float) -> Load:
    """Clients without a pause, and rude ones, for some minutes."""
    load, start = Load(), time.perf_counter()
    end = start + 60 * minutes
    rounds = int(600 * minutes) + 1

    async def watch() -> None:
        while time.perf_counter() < end:
            load.memory.append(await memory(port))
            print(f"{time.perf_counter() - start:5.0f} s  {load.memory[-1]:.0f} MB, {len(load.latencies)} answers, "
                  f"{sum(load.lost.values())} lost {dict(load.lost)}", file=sys.stderr, flush=True)  # fmt: skip
            await asyncio.sleep(60 * minutes / 10)

    await asyncio.gather(
        *(client(port, [all_of_them[(7 * c + r) % len(all_of_them)] for r in range(rounds)], load, end)
          for c in range(clients)),
        *(rude(port, kind, all_of_them[0].content, end) for kind in range(RUDE)),
        watch(),
    )  # fmt: skip
    load.seconds = time.perf_counter() - start
    load.memory.append(await memory(port))
    return load


def main() -> int:
    """Parses, measures, prints; 1 where an answer was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100, help="clients at once, 200 at most (default: 100)")
    parser.add_argument("--requests", type=int, default=3, help="requests of each in a round (default: 3)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each server (default: 2)")
    parser.add_argument("--streams", action="store_true", help="load with streams instead of requests")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="load one server for so long instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    options = parser.parse_args()
    if not (0 < options.clients <= 200 and 0 < options.requests <= 100 and 0 < options.rounds <= 20):
        parser.error("--clients must lie in 1 to 200, --requests in 1 to 100 and --rounds in 1 to 20.")
    if options.soak is not None and not 0 < options.soak <= MOST_MINUTES:
        parser.error(f"--soak must lie between 0 and {MOST_MINUTES} minutes.")
    rows = soak(options) if options.soak else streams(options) if options.streams else compare(options)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()))
    return int(any(row["lost"] for row in rows))


def compare(options: argparse.Namespace) -> list[dict]:
    """Both servers in turn."""
    spoken = recordings()
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(server(*words)) for name, words in SERVERS.items()}
        return in_turn(ports, options, lambda port, *how: burst(port, spoken, *how), warming=20)


def streams(options: argparse.Namespace) -> list[dict]:
    """Streams whose blocks run as one batch, and each alone, in turn."""
    spoken = recordings()
    with contextlib.ExitStack() as stack:
        model = model_of_streams(stack.enter_context(tempfile.TemporaryDirectory()))
        expected = list(zip(spoken, said_alone(model, spoken), strict=True))
        ports = {
            name: stack.enter_context(server("--streaming-model", model, *words)) for name, words in STREAMING.items()
        }
        return in_turn(ports, options, lambda port, *how: streamed(port, expected, *how), warming=4)


def in_turn(
    ports: dict[str, int], options: argparse.Namespace, ask: Callable[..., Coroutine], *, warming: int
) -> list[dict]:
    """Ask servers in turn, `ask(port, clients, requests, load)`, after a round of few clients that is not counted."""
    loads = {name: Load() for name in ports}
    for port in ports.values():
        asyncio.run(ask(port, warming, 1, Load()))
    for _ in range(options.rounds):
        for name, port in ports.items():
            asyncio.run(ask(port, options.clients, options.requests, loads[name]))
            print(loads[name].to_dict(name), file=sys.stderr, flush=True)
    return [load.to_dict(name) for name, load in loads.items()]


def soak(options: argparse.Namespace) -> list[dict]:
    """One server for some minutes."""
    spoken = recordings()
    with server() as port:
        return [asyncio.run(soaked(port, spoken, options.clients, options.soak)).to_dict("batched, soaked")]


if __name__ == "__main__":
    sys.exit(main())
