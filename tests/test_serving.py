"""The server: its answers are the command line's, whatever is asked beside them; what is bad is refused in words."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra `server`")

import openai
from servers import CLIPS, FIRST, ROOT, SMALL, running_server
from starlette.testclient import TestClient

import speechrnn as sr
from speechrnn import audio, decoding
from speechrnn.models import loading
from speechrnn.serving import app, running
from speechrnn.serving.batching import Batcher, Job
from speechrnn.serving.limits import Gate, Keys
from speechrnn.serving.options import ServeOptions
from speechrnn.serving.refusals import Cancelled, Refusal
from speechrnn.serving.service import Service
from speechrnn.tasks.recognition import formats

JSON = {"content-type": "application/json"}
KEY = "a-key-that-nobody-else-has"


@pytest.fixture(scope="module")
def server():
    with running_server(["default", str(FIRST / "classifier.onnx"), str(FIRST / "forecaster.onnx")]) as (url, _):
        yield url


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


@contextlib.contextmanager
def small(**options):
    """A client of a small server in this process, without a socket; and its service."""
    service = Service([SMALL], options=ServeOptions(**options))
    with TestClient(app.make(service), base_url="http://testserver") as client:
        yield client, service


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    """Half a second that the small recognizer takes."""
    path = tmp_path_factory.mktemp("wav") / "half.wav"
    audio.write(path, 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    return path.read_bytes()


def error(response):
    return response.json()["error"]


# Answers


def test_every_format_is_what_the_command_line_writes(client):
    for path in CLIPS[:2]:
        said = sr.transcribe(path)
        for name, format in (("text", "txt"), ("srt", "srt"), ("vtt", "vtt")):
            found = client.audio.transcriptions.create(file=path, model="whisper-1", response_format=name)
            assert found == formats.render(said, format)
        found = client.audio.transcriptions.create(file=path, model="english")
        assert found.text == said.text and found.usage.seconds == pytest.approx(said.duration, abs=1e-3)


def test_verbose_json_has_words_with_times_and_segments_where_they_are_asked_for(client):
    said = sr.transcribe(CLIPS[0])
    both = client.audio.transcriptions.create(
        file=CLIPS[0], model="a", response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert [word.to_dict() for word in both.words] == said.to_dict()["words"]
    assert " ".join(segment.text for segment in both.segments) == both.text == said.text
    assert both.segments[0].start == pytest.approx(said.words[0].start, abs=1e-3)
    assert both.duration == pytest.approx(said.duration, abs=1e-3) and both.language == "english"
    one = client.audio.transcriptions.create(file=CLIPS[0], model="a", response_format="verbose_json")
    assert one.words is None and one.segments


def test_a_stream_of_events_gives_the_words_as_they_become_known_and_then_the_whole(client, tmp_path):
    signal = np.concatenate([audio.read(path, sample_rate=16000)[0] for path in CLIPS] * 12)
    path = tmp_path / "long.flac"
    audio.write(path, signal, 16000)
    assert len(signal) > 90 * 16000
    events = list(client.audio.transcriptions.create(file=path, model="a", stream=True))
    deltas = [event.delta for event in events[:-1]]
    assert events[-1].type == "transcript.text.done" and events[-1].text == "".join(deltas) == sr.transcribe(path).text
    assert len(deltas) > 1


def test_answers_do_not_depend_on_what_is_asked_beside_them(client):
    alone = {path: sr.transcribe(path).to_dict() for path in CLIPS}

    def ask(path):
        return client.audio.transcriptions.create(
            file=path, model="a", response_format="verbose_json", timestamp_granularities=["word"]
        )

    with ThreadPoolExecutor(len(CLIPS)) as pool:
        for path, found in zip(CLIPS * 3, pool.map(ask, CLIPS * 3), strict=True):
            assert found.text == alone[path]["text"], path
            for word, own in zip(found.words, alone[path]["words"], strict=True):
                assert (word.word, word.start, word.end) == (own["word"], own["start"], own["end"])
                assert word.to_dict()["confidence"] == pytest.approx(own["confidence"], abs=2e-4)


def test_curl_and_whisper_cpp(server):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    words = ["curl", "-sS", "-F", f"file=@{CLIPS[0]}", "-F", "temperature=0.0", "-F", "response_format=json"]
    done = subprocess.run([*words, f"{server}/inference"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["text"] == sr.transcribe(CLIPS[0]).text


def test_the_words_of_a_prompt_are_hot_words_of_the_search(wav, monkeypatch):
    from speechrnn.tasks.recognition import attachments

    asked = []

    def decoder(model, **options):
        asked.append(options.get("hotwords", ()))
        if "jig" in options.get("hotwords", ()):
            raise ValueError("not in the lexicon")
        return decoding.greedy

    monkeypatch.setattr(attachments, "decoder", decoder)
    letters = loading.load_session(SMALL).vocabulary.symbols
    word = "".join(letter for letter in letters if letter.isalpha())[:2]
    with small() as (client, service):
        (served,) = service.models
        monkeypatch.setattr(served.model.vocabulary, "missing", lambda text: set(text) & {"ü"}, raising=False)
        fields = {"prompt": f"{word.upper()}; {word}  {word},jig,über", "keywords[]": ["nine"]}
        found = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)}, data=fields)
    assert found.status_code == 200
    prompted = [hotwords for hotwords in asked if hotwords]  # at the start there are none, for files and for streams
    assert asked[0] == () and prompted[0] == (word, f"{word} {word}", "jig", "nine")
    assert prompted[-1] == asked[-1] == (word, f"{word} {word}", "nine")


def test_models_are_listed_with_their_kinds(client, server):
    found = {model.id: model.to_dict() for model in client.models.list()}
    assert list(found) == ["english", "classifier", "forecaster"]
    assert found["classifier"]["kind"] == "classifier" and found["classifier"]["method"] == "classify"
    assert client.models.retrieve("forecaster").id == "forecaster"
    with pytest.raises(openai.NotFoundError, match="There is no model 'nobody' here"):
        client.models.retrieve("nobody")


@pytest.mark.parametrize(("kind", "channels", "samples"), [("classifier", 2, 200), ("forecaster", 2, 60)])
def test_records_are_answered_as_json_and_as_files(kind, channels, samples, tmp_path, rng):
    session = loading.load_session(FIRST / f"{kind}.onnx")
    signal = rng.standard_normal((samples, channels)).astype("float32")
    path = tmp_path / "record.npz"
    sr.signals.write(path, signal, session.sample_rate)
    method = {"classifier": "classify", "forecaster": "forecast"}[kind]
    own = getattr(session, method)(path).to_dict()
    with TestClient(app.make(Service([str(FIRST / f"{kind}.onnx")]))) as client:
        by_file = client.post(f"/v1/{method}", files={"file": ("record.npz", path.read_bytes())}).json()
        by_json = client.post(f"/v1/{method}", json={"signal": signal.tolist(), "preview": True}).json()
    assert {**own, "path": "record.npz", "model": kind} == by_file
    preview = by_json.pop("preview")
    assert {**by_file, "path": "signal"} == by_json
    assert np.max(preview["channels"][1]["most"]) == pytest.approx(signal[:, 1].max(), abs=1e-5)


def test_files_that_were_read_are_forgotten(tmp_path):
    from speechrnn.signals.record import cached

    calls, path = [], tmp_path / "a"
    path.write_bytes(b"a")
    parsed = cached(4)(calls.append)
    parsed(str(path))
    parsed(str(path))
    assert len(calls) == 1
    sr.signals.forget()
    parsed(str(path))
    assert len(calls) == 2


# Batches


def test_signals_of_many_threads_are_run_together_and_sorted_by_length():
    batches, begin = [], threading.Barrier(8)

    def run(signals):
        batches.append([len(signal) for signal in signals])
        return [float(signal.sum()) for signal in signals]

    batcher = Batcher(run, gather=0.5, max_samples=40)

    def ask(length):
        begin.wait()
        return batcher([np.full(length, 2.0)])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(1, 9))) == [[2.0 * length] for length in range(1, 9)]
    batcher.close()
    assert len(batches) < 8 and sorted(length for batch in batches for length in batch) == list(range(1, 9))
    assert all(batch == sorted(batch, reverse=True) and len(batch) * batch[0] <= 40 for batch in batches)


def test_a_signal_that_is_refused_spoils_no_other_answer():
    def run(signals):
        if any(not np.isfinite(signal).all() for signal in signals):
            raise ValueError("no numbers")
        return [len(signal) for signal in signals]

    batcher = Batcher(run, gather=0.2, max_samples=100)
    with ThreadPoolExecutor(3) as pool:
        good, bad, other = (pool.submit(batcher, [np.full(3, value)]) for value in (1.0, np.nan, 2.0))
        assert good.result() == other.result() == [3]
        with pytest.raises(ValueError, match="no numbers"):
            bad.result()
    batcher.close()


def test_what_is_known_ahead_of_a_signal_stays_with_it():
    batches, begin = [], threading.Barrier(4)

    def run(signals, *ahead):
        batches.append(len(signals))
        return [
            signal.sum() + sum(part.sum() for part in parts) for signal, *parts in zip(signals, *ahead, strict=True)
        ]

    batcher = Batcher(run, gather=0.5, max_samples=100)

    def ask(length):
        begin.wait()
        return batcher([np.ones(length)], *([[np.full(2, 50.0 * length)]] if length < 4 else []))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(1, 5))) == [[101], [202], [303], [4]]
    with pytest.raises(ValueError):
        batcher([np.ones(1)], [])
    batcher.close()


def test_what_nobody_waits_for_is_not_run():
    release, ran = threading.Event(), []

    def run(signals):
        ran.extend(len(signal) for signal in signals)
        release.wait(10)
        return [0 for _ in signals]

    batcher, job = Batcher(run, gather=0.0, max_samples=1), Job(60)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher, [np.zeros(1)])
        while not ran:
            time.sleep(0.001)
        second = pool.submit(batcher, [np.zeros(2)], job=job)
        job.cancel()
        with pytest.raises(Cancelled):
            second.result()
        release.set()
        first.result()
    batcher.close()
    assert ran == [1]


# Refusals


def test_what_is_no_recording_is_refused_in_words(client, server):
    for content, says in (
        (b"", "empty"),
        (b"no audio at all, just text" * 100, "a.wav: cannot be decoded as audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a.wav"),
        (CLIPS[0].read_bytes()[:200], "a.wav"),
    ):
        with pytest.raises(openai.BadRequestError, match=says) as caught:
            client.audio.transcriptions.create(file=("a.wav", content), model="a")
        assert caught.value.body["param"] == "file" and caught.value.body["type"] == "invalid_request_error"
        assert "speechrnn-" not in str(caught.value)  # the folder of uploads


def test_fields_that_make_no_sense_are_refused(wav):
    with small() as (client, _):
        for field, value in (
            ("response_format", "xml"),
            ("temperature", "hot"),
            ("timestamp_granularities[]", "phone"),
            ("stream", "perhaps"),
        ):
            response = client.post(
                "/v1/audio/transcriptions", files={"file": ("a.wav", wav)}, data={"model": "a", field: value}
            )
            assert response.status_code == 400 and error(response)["param"] == field.removesuffix("[]"), response.text
        assert client.post("/v1/audio/transcriptions", files={"other": ("a.wav", wav)}).status_code == 400
        assert client.post("/v1/audio/transcriptions", data={"file": "a.wav"}).status_code == 415
        assert client.post("/v1/audio/transcriptions", json={"file": "a.wav"}).status_code == 415
        broken = {"content-type": "multipart/form-data; boundary=x"}
        assert client.post("/v1/audio/transcriptions", content=b"--x\r\nno", headers=broken).status_code == 400
        assert client.post("/v1/classify", json={"signal": [1]}).status_code == 404
        assert error(client.get("/nowhere"))["message"] == "There is nothing at /nowhere."


def test_a_signal_that_is_none_is_refused(server):
    with openai.DefaultHttpxClient(base_url=server) as client:
        for given in ({"signal": [[1, 2], [3]]}, {"signal": "x"}, {}, {"signal": []}, {"signal": [[1, 2, 3]]}):
            assert error(client.post("/v1/classify", json=given))["param"] == "signal"
        assert client.post("/v1/classify", json={"signal": [[1, 2]], "rate": "x"}).status_code == 400
        assert client.post("/v1/classify", json=[1]).status_code == 400
        huge = '{"signal": [[1%s, 2]]}' % (400 * "0")
        assert error(client.post("/v1/classify", content=huge, headers=JSON))["param"] == "signal"
        header = b"a 2 360 10\n../../etc/passwd 16 1 16 0 0 0 0 a\n"
        response = client.post("/v1/classify", files={"file": ("a.hea", header)})
        assert response.status_code == 415 and "a.hea" in error(response)["message"]


def test_uploads_have_an_end_and_recordings_too(wav, tmp_path):
    with small(most_megabytes=0.01) as (client, _):
        response = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)})
        assert response.status_code == 413 and "0.01 MB" in error(response)["message"]

        def chunks():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(100):
                yield bytes(1000)

        kind = {"content-type": "multipart/form-data; boundary=x"}
        assert client.post("/v1/audio/transcriptions", content=chunks(), headers=kind).status_code == 413
    with small(most_minutes=0.005) as (client, service):
        response = client.post("/v1/audio/transcriptions", files={"file": ("../../a.wav", wav)})
        assert response.status_code == 413 and error(response)["code"] == "audio_too_long"
        assert os.listdir(service.folder) == []


def test_a_client_that_sends_a_byte_at_a_time_is_let_go(wav):
    with running_server([SMALL], upload_seconds=0.5) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            answer = b""
            for _ in range(100):
                with contextlib.suppress(OSError):
                    slow.sendall(b"C")
                slow.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    answer += slow.recv(4096)
                    break
            assert answer.startswith(b"HTTP/1.1 408"), answer


def test_a_client_that_never_says_what_it_wants_is_let_go(monkeypatch):
    monkeypatch.setattr(running, "_HEADER_SECONDS", 0.2)
    with running_server([SMALL]) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as silent:
            silent.sendall(b"GET /healthz HTTP/1.1\r\nHo")
            assert silent.recv(100) == b""


def test_many_connections_that_say_nothing_are_let_go(monkeypatch):
    monkeypatch.setattr(running, "_HEADER_SECONDS", 5.0)
    with running_server([SMALL], connections=20) as (url, _), openai.DefaultHttpxClient() as probe:
        assert probe.get(f"{url}/healthz").status_code == 200
        host, port = url.removeprefix("http://").split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection((host, int(port))))
            for wanted in (503, 200):  # once all are accepted, and once none is left
                for _ in range(400):
                    if (status := probe.get(f"{url}/healthz").status_code) == wanted:
                        break
                    time.sleep(0.05)
                assert status == wanted


def test_two_gigabytes_are_refused_before_they_are_sent():
    with running_server([SMALL]) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as large:
            large.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 2147483648\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            )
            assert large.recv(4096).startswith(b"HTTP/1.1 413")


def asked(method, path, receive, send, headers=()):
    """One request to a server of its own."""
    service = Service([SMALL])
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"a"), *headers], "root_path": "", "scheme": "http", "http_version": "1.1",
        "client": ("a", 1), "server": ("a", 1),
    }  # fmt: skip
    asyncio.run(app.make(service)(scope, receive, send))
    service.close()


def test_a_client_that_does_not_take_its_answer_is_let_go(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "speechrnn")
    monkeypatch.setattr(app, "_SEND_SECONDS", 0.05)

    async def never(message):
        await asyncio.sleep(60)

    async def nothing():
        return {"type": "http.request", "body": b"", "more_body": False}

    asked("GET", "/v1/models", nothing, never)
    assert "does not take its answer" in caplog.text and "GET /v1/models 499" in caplog.text


def test_a_client_that_leaves_within_its_upload_is_no_failure_of_the_server(caplog):
    path = "/v1/audio/transcriptions"
    caplog.set_level(logging.INFO, "speechrnn")
    arriving = iter([{"type": "http.request", "body": b"--x\r\nContent-Disposition: fo", "more_body": True}])

    async def receive():
        return next(arriving, {"type": "http.disconnect"})

    async def send(message):
        pass

    asked("POST", path, receive, send, [(b"content-type", b"multipart/form-data; boundary=x")])
    assert f"POST {path} 499" in caplog.text and "failed" not in caplog.text


def test_a_full_queue_says_when_to_come_again(wav, monkeypatch):
    with small(queue=1) as (client, service):
        entered, release = threading.Event(), threading.Event()
        transcribe = service.transcribe

        def waits(*args):
            entered.set()
            release.wait(10)
            return transcribe(*args)

        monkeypatch.setattr(service, "transcribe", waits)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(client.post, "/v1/audio/transcriptions", files={"file": ("a.wav", wav)})
            assert entered.wait(10)
            second = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)})
            assert client.get("/healthz").status_code == 200
            release.set()
            assert first.result().status_code == 200
        assert second.status_code == 429 and int(second.headers["retry-after"]) >= 1
        assert error(second)["type"] == "rate_limit_error"
        assert client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)}).status_code == 200


def test_a_request_that_takes_too_long_is_given_up(wav, monkeypatch):
    with small(request_seconds=0.1) as (client, service):

        def forever(job, *rest):
            while True:
                job.check()
                time.sleep(0.01)

        monkeypatch.setattr(service, "transcribe", forever)
        response = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)})
        assert response.status_code == 504 and error(response)["type"] == "server_error"
        assert os.listdir(service.folder) == []


def test_a_gate_counts_those_inside():
    gate = Gate(2, at_once=1, what="streams")
    with gate.entered(), gate.entered(), pytest.raises(Refusal, match="takes 2 streams"), gate.entered():
        pass
    with gate.entered():
        pass


def test_keys_rates_and_origins(wav, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"# of the kitchen\n{KEY}\n")
    files = {"file": ("a.wav", wav)}
    with small(keys=str(keys), requests_per_minute=8) as (client, _):
        for path in ("/v1/models", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {KEY}x"}).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        answers = [
            client.post("/v1/audio/transcriptions", files=files, headers={"Authorization": f"Bearer {KEY}"})
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 8
    with small() as (client, _):
        foreign = client.get("/v1/models", headers={"Origin": "https://elsewhere.example"})
        assert foreign.status_code == 403 and "access-control-allow-origin" not in foreign.headers
        assert client.get("/v1/models", headers={"Origin": "http://["}).status_code == 403
        assert client.get("/v1/models", headers={"Origin": "http://testserver"}).status_code == 200
    with small(cors=("https://elsewhere.example",)) as (client, _):
        allowed = client.get("/v1/models", headers={"Origin": "https://elsewhere.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://elsewhere.example"
        assert client.get("/v1/models", headers={"Origin": "https://third.example"}).status_code == 403
    keys.write_text("short\n")
    with pytest.raises(ValueError, match="fewer than 16 characters in line 1"):
        Keys.read(keys)
    with pytest.raises(ValueError, match="must name origins"):
        ServeOptions(cors=("*",))


# Truth


def test_the_canary_tells_whether_the_model_works(monkeypatch):
    from speechrnn.serving import health

    monkeypatch.setattr(health, "_CACHE_SECONDS", 0.0)
    with small() as (client, service):
        assert client.get("/readyz").json() == {"status": "ready", "models": ["recognizer"]}
        (served,) = service.models
        logits = served.model.logits
        monkeypatch.setattr(served._batcher, "_run", lambda signals: [found + 1 for found in logits(signals)])
        broken = client.get("/readyz")
        assert broken.status_code == 503 and "not what it was" in broken.json()["reason"]
        monkeypatch.setattr(served._batcher, "_run", lambda signals: time.sleep(0.5) or logits(signals))
        monkeypatch.setattr(health, "_DEADLINE", 0.05)
        assert "do not answer within" in client.get("/readyz").json()["reason"]
        assert client.get("/healthz").json() == {"status": "alive"}
        service.stopping = True
        assert client.get("/readyz").status_code == 503


def test_metrics_and_logs_tell_of_requests_and_not_what_is_in_them(wav, caplog):
    caplog.set_level(logging.INFO, "speechrnn")
    with small() as (client, _):
        text = client.post("/v1/audio/transcriptions", files={"file": ("secret.wav", wav)}).json()["text"]
        found = client.get("/metrics").text
    assert 'speechrnn_requests_total{route="/v1/audio/transcriptions",status="200"} 1.0' in found
    assert 'speechrnn_audio_seconds_total{route="/v1/audio/transcriptions"} 0.5' in found
    assert "POST /v1/audio/transcriptions 200" in caplog.text and "secret" not in caplog.text
    assert text and text not in caplog.text
    with small(log_text=True) as (client, _):
        client.post("/v1/audio/transcriptions", files={"file": ("secret.wav", wav)})
    assert f"secret.wav: 0.50 s: {text}" in caplog.text


def test_the_help_imports_nothing_of_the_server():
    code = "from speechrnn.cli import main; main(['serve', '--help']); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.splitlines()[-1].split()
    assert "--wyoming-port" in done.stdout and not {"starlette", "uvicorn", "tensorflow"} & set(loaded)


def test_a_server_that_is_told_to_stop_answers_first(tmp_path):
    words = [sys.executable, "-u", "-m", "speechrnn", "serve", "--port", "0", "--model", "default"]
    path = tmp_path / "long.flac"
    signal_of_speech = np.concatenate([audio.read(clip, sample_rate=16000)[0] for clip in CLIPS] * 6)
    audio.write(path, signal_of_speech, 16000)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            url = next(line for line in process.stderr if "http://" in line).split()[-1]
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client, ThreadPoolExecutor(1) as pool:
                asked = pool.submit(client.audio.transcriptions.create, file=path, model="default")
                with openai.DefaultHttpxClient(base_url=url) as probe:
                    while "speechrnn_requests_inside 1.0" not in probe.get("/metrics").text and not asked.done():
                        time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                assert asked.result().text == sr.transcribe(path).text
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
                    reason="the heaps are glibc's")  # fmt: skip
def test_threads_share_their_heaps_so_that_memory_does_not_grow_for_hours(wav):
    words = [sys.executable, "-u", "-m", "speechrnn", "serve", "--port", "0", "--model", SMALL]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        try:
            url = next(line for line in process.stderr if "http://" in line).split()[-1]
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client, ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda _: client.audio.transcriptions.create(file=wav, model="default"), range(64)))
            maps = [line.split()[:2] for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()]
            threads = len(os.listdir(f"/proc/{process.pid}/task"))
        finally:
            process.kill()
    # Each heap but the first begins at a multiple of 64 MB; behind it is what it has not used yet.
    places = [(*(int(edge, 16) for edge in place.split("-")), rights) for place, rights in maps]
    heaps = [
        begin
        for (begin, end, rights), (after, last, none) in itertools.pairwise(places)
        if (rights, none) == ("rw-p", "---p") and begin % (1 << 26) == last % (1 << 26) == 0 and end == after
    ]
    assert threads > 16 and len(heaps) <= running._ARENAS - 1


def test_the_image_is_healthy_where_the_canary_answers(monkeypatch):
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    (health,) = re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])\n", text, re.DOTALL)
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)
    program = json.loads(health)[2]
    with running_server([SMALL]) as (url, service):
        mine = program.replace("http://127.0.0.1:8000", url)
        assert mine != program
        exec(mine)
        service.stopping = True
        with pytest.raises(OSError, match="503"):
            exec(mine)


def test_an_address_that_is_taken_is_reported_before_models_are_opened(capsys):
    from speechrnn import cli

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["serve", "--port", str(taken.getsockname()[1]), "--model", "none.onnx"]) == 2
    assert "cannot be listened to (Address already in use). Choose another --port." in capsys.readouterr().err
    assert cli.main(["serve", "--port", "0", "--model", "none.onnx"]) == 2
    assert "none.onnx: no such model file" in capsys.readouterr().err
    assert cli.main(["serve", "--port", "0", "--model", str(FIRST / "language.onnx")]) == 2
    assert "Only models of signals are served" in capsys.readouterr().err
