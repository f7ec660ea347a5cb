"""Streams of speech over the protocols that clients speak: each with its real client, and what they send by mistake."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra `server`")

import onnx
import openai
from servers import CLIPS, FIRST, SMALL, running_server, speech, streamed
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info

import speechrnn as sr
from speechrnn import audio
from speechrnn.models import loading
from speechrnn.serving import running
from speechrnn.serving.batching import StepBatcher
from speechrnn.serving.sockets import Connection
from speechrnn.serving.utterances import Endpointing, UtteranceRecognizer
from speechrnn.tasks.recognition.streaming_base import Update

KEY = "a-key-that-nobody-else-has"
QUIET = np.zeros(16000, "<i2")


@pytest.fixture(scope="module")
def served():
    with running_server(["default"], wyoming_port=0, idle_seconds=20) as (url, service):
        yield url, service


@pytest.fixture(scope="module")
def url(served):
    return served[0].replace("http", "ws")


def words_of(text):
    return text.split()


# Utterances


class Counting:
    """Stands for a stream: it counts its samples."""

    def __init__(self):
        self.held = 0

    def push(self, samples):
        self.held += len(samples)
        return Update("", ())

    def finish(self):
        return Update("", ())


def bursts(*seconds, rate=16000):
    """Noise and silence in turn, silence first."""
    rng = np.random.default_rng(0)
    parts = [
        (0.2 if index % 2 else 0.001) * rng.standard_normal(round(length * rate))
        for index, length in enumerate(seconds)
    ]
    return np.concatenate(parts).astype("float32")


@pytest.mark.parametrize("portion", [1, 333, 8000, 10**6])
def test_utterances_end_where_it_is_quiet_whatever_the_portions(portion):
    signal = bursts(0.5, 1.0, 0.3, 0.5, 1.0, 0.7, 1.0)
    if portion == 1:
        signal = signal[:20_000]
    recognizer = UtteranceRecognizer(Counting, model_rate=16000, rate=16000, endpointing=Endpointing(silence=0.6))
    heard = []
    for start in range(0, len(signal), portion):
        heard += recognizer.push(signal[start : start + portion])
    heard += recognizer.commit()
    happened = [(one.kind, round(one.at, 2)) for one in heard]
    if portion == 1:
        assert happened == [("started", 0.5), ("final", 1.25)]
        return
    # A pause of 0.3 s ends nothing; one of 1 s does after 0.6 s.
    assert happened == [
        ("started", 0.5), ("stopped", 2.9), ("final", 2.9), ("started", 3.3), ("stopped", 4.6), ("final", 4.6),
        ("final", 5.0),
    ]  # fmt: skip


def test_an_utterance_without_pauses_ends_after_all():
    recognizer = UtteranceRecognizer(
        Counting, model_rate=1000, rate=4000, endpointing=Endpointing(long=2.0, longest=3.0)
    )
    loud = 0.3 * np.random.default_rng(0).standard_normal(28_000).astype("float32")
    finals = [one.at for one in recognizer.push(loud) if one.kind == "final"]
    assert finals[0] == pytest.approx(3.0, abs=0.1) and np.diff([*finals, 7.0]).max() <= 3.0 and len(finals) >= 2


def test_what_an_ear_cannot_take_is_refused():
    with pytest.raises(ValueError, match="between 4000 and 192000"):
        UtteranceRecognizer(Counting, model_rate=16000, rate=17)
    with pytest.raises(ValueError, match="between 0.1 and 10 s"):
        Endpointing(silence=0.0)


# Vosk


def vosk(url, samples, rate=16000, portion=0.2, config=None):
    """What Vosk's own client does (test.py of vosk-server): an answer is awaited after each message of audio."""
    answers = []
    with connect(url) as websocket:
        websocket.send(json.dumps({"config": {"sample_rate": rate, **(config or {})}}))
        size = round(portion * rate)
        for start in range(0, len(samples), size):
            websocket.send(samples[start : start + size].tobytes())
            answers.append(json.loads(websocket.recv()))
        websocket.send('{"eof" : 1}')
        answers.append(json.loads(websocket.recv()))
        with pytest.raises(ConnectionClosed):
            websocket.recv()
    return answers


def test_vosk_gives_partial_and_final_results(url):
    for path in CLIPS[:3]:
        samples = speech(path)
        answers = vosk(url, samples)
        assert all(set(answer) == {"partial"} for answer in answers if "text" not in answer)
        final = [word for answer in answers for word in answer.get("result", [])]
        own = streamed(samples)
        finals = [answer for answer in answers if "text" in answer]
        assert [word["word"] for word in final] == words_of(" ".join(answer["text"] for answer in finals))
        if len(finals) == 1:
            assert [(word["word"], word["start"]) for word in final] == [(w.word, round(w.start, 3)) for w in own]
            partials = [answer["partial"] for answer in answers[:-1]]
            assert finals[0]["text"].startswith(partials[-1].rpartition(" ")[0])


def test_vosk_ends_utterances_in_silence_and_times_count_from_the_beginning(url):
    first, second = speech(CLIPS[0]), speech(CLIPS[1])
    answers = vosk(url + "/vosk", np.concatenate([QUIET, first, QUIET, QUIET, second, QUIET]), portion=0.25)
    finals = [answer for answer in answers if answer.get("text")]
    assert len(finals) >= 2 and "text" not in answers[0]
    starts = [word["start"] for answer in finals for word in answer["result"]]
    assert starts == sorted(starts) and starts[0] >= 0.9
    assert finals[-1]["result"][0]["start"] >= (len(first) + 3 * len(QUIET)) / 16000 - 0.2


@pytest.mark.parametrize("eof", ['{"eof" : 1}', '{"eof":1}', '{ "eof": 1 }\n'])
def test_vosk_knows_the_end_in_any_spacing(url, eof):
    with connect(url) as websocket:
        websocket.send(eof)
        assert json.loads(websocket.recv()) == {"text": ""}


def test_vosk_takes_other_rates_and_alternatives(url):
    samples = speech(CLIPS[0], 8000)
    answers = vosk(url, samples, 8000, config={"max_alternatives": 1, "words": False})
    (best,) = answers[-1]["alternatives"]
    assert set(best) == {"confidence", "text"}
    if sum("alternatives" in answer for answer in answers) == 1:
        assert words_of(best["text"]) == [word.word for word in streamed(samples, 8000)]


def test_vosk_keeps_an_utterance_where_a_client_changes_the_answers(url):
    samples = speech(CLIPS[0])
    with connect(url) as websocket:
        answers = []
        for start in range(0, len(samples), 3200):
            websocket.send('{"config": {"words": false, "sample_rate": 16000}}')
            websocket.send(samples[start : start + 3200].tobytes())
            answers.append(json.loads(websocket.recv()))
        websocket.send('{"eof": 1}')
        answers.append(json.loads(websocket.recv()))
    assert words_of(" ".join(answer.get("text", "") for answer in answers)) == [w.word for w in streamed(samples)]
    with connect(url) as websocket:
        websocket.send(samples[:3200].tobytes())
        websocket.recv()
        websocket.send('{"config": {"sample_rate": 8000}}')
        with pytest.raises(ConnectionClosed, match="rate of an utterance cannot change"):
            websocket.recv()


@pytest.mark.parametrize(
    "message",
    [
        b"\0",
        "no json",
        "[1]",
        '{"config": 3}',
        '{"config": {"sample_rate": "x"}}',
        '{"config": {"sample_rate": 1%s}}' % (400 * "0"),
        '{"config": {"max_alternatives": 1e999}}',
        '{"what": 1}',
        "[" * 9999,
    ],
)
def test_vosk_refuses_what_it_cannot_understand(url, message):
    with connect(url) as websocket:
        websocket.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv()
    assert caught.value.rcvd.code == 1008 and caught.value.rcvd.reason


def test_a_websocket_that_is_closed_within_a_word_leaves_nothing_behind(served):
    url, service = served
    for _ in range(3):
        with connect(url.replace("http", "ws"), close_timeout=0) as websocket:
            websocket.send(speech(CLIPS[0])[:9000].tobytes())
            websocket.recv()
            websocket.socket.shutdown(socket.SHUT_RDWR)
    for _ in range(200):
        if b"speechrnn_streams_open 0.0" in service.metrics.text():
            break
        time.sleep(0.05)
    assert b"speechrnn_streams_open 0.0" in service.metrics.text()
    assert vosk(url.replace("http", "ws"), speech(CLIPS[0]))[-1]["text"] is not None


def test_streams_need_keys_places_and_something_to_say(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    with running_server([SMALL], keys=str(keys), streams=1, idle_seconds=1.0) as (url, _):
        url = url.replace("http", "ws") + "/vosk"
        for how in ({}, {"additional_headers": {"Authorization": "Bearer no"}}, {"subprotocols": ["x"]}):
            with pytest.raises(InvalidStatus) as caught, connect(url, **how):
                pass
            assert caught.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as caught, connect(url, origin="https://elsewhere.example"):
            pass
        assert caught.value.response.status_code == 403
        both = ["realtime", f"openai-insecure-api-key.{KEY}"]
        with connect(url, subprotocols=both) as first:
            assert first.subprotocol == "realtime"
            with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as second:
                with pytest.raises(ConnectionClosed) as caught:
                    second.recv()
                assert caught.value.rcvd.code == 1013 and "1 streams" in caught.value.rcvd.reason
            with pytest.raises(ConnectionClosed) as caught:
                first.recv(timeout=10)
            assert caught.value.rcvd.code == 1001


def test_a_model_that_cannot_stream_recognizes_what_was_said(tmp_path, rng):
    samples = np.round(3000 * rng.standard_normal(16000)).astype("<i2")
    path = tmp_path / "a.wav"
    audio.write(path, samples.astype("float32") / 32768, 16000)
    with running_server([SMALL]) as (url, _):
        answers = vosk(url.replace("http", "ws"), samples)
    assert {"partial": ""} in answers
    assert answers[-1]["text"] == loading.load_session(SMALL).transcribe(path).text


# OpenAI's realtime sessions


@contextlib.contextmanager
def realtime(served, **update):
    with (
        openai.OpenAI(base_url=f"{served[0]}/v1", api_key="none") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        created = connection.recv()
        assert created.type == "session.created"
        if update:
            connection.session.update(session={"type": "transcription", "audio": {"input": update}})
            updated = connection.recv()
            assert updated.type == "session.updated", updated
        yield connection


def append(connection, samples, portion=4800):
    for start in range(0, len(samples), portion):
        connection.input_audio_buffer.append(
            audio=base64.b64encode(samples[start : start + portion].tobytes()).decode()
        )


def until(connection, kind):
    events = []
    while not events or events[-1].type != kind:
        events.append(connection.recv())
        assert events[-1].type != "error", events[-1]
    return events


AS_THE_CLIENT_DOES = pytest.mark.filterwarnings("ignore:connect.. must be used as a context:DeprecationWarning")
PREFIX = "conversation.item.input_audio_transcription"


@AS_THE_CLIENT_DOES
def test_realtime_transcribes_what_is_committed(served):
    samples = speech(CLIPS[0], 24000)
    with realtime(served, turn_detection=None, format={"type": "audio/pcm", "rate": 24000}) as connection:
        append(connection, samples)
        connection.input_audio_buffer.commit()
        events = until(connection, f"{PREFIX}.completed")
        deltas = [event.delta for event in events if event.type == f"{PREFIX}.delta"]
        (committed,) = (event for event in events if event.type == "input_audio_buffer.committed")
        assert "".join(deltas) == events[-1].transcript and committed.item_id == events[-1].item_id
        assert words_of(events[-1].transcript) == [word.word for word in streamed(samples, 24000)]
        append(connection, samples)
        connection.input_audio_buffer.clear()
        assert until(connection, "input_audio_buffer.cleared")
        connection.input_audio_buffer.commit()
        while (event := connection.recv()).type != "error":
            pass
        assert event.error.code == "input_audio_buffer_commit_empty"
        append(connection, samples)
        connection.input_audio_buffer.commit()
        again = until(connection, f"{PREFIX}.completed")[-1]
        assert again.transcript == events[-1].transcript and again.item_id != committed.item_id


@AS_THE_CLIENT_DOES
def test_realtime_finds_turns_by_itself(served):
    quiet = np.zeros(24000, "<i2")
    with realtime(served) as connection:
        append(connection, np.concatenate([quiet, speech(CLIPS[0], 24000), quiet]))
        events = until(connection, f"{PREFIX}.completed")
    kinds = [event.type for event in events if not event.type.startswith(PREFIX)]
    assert kinds[:3] == [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
    ]  # fmt: skip
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1
    assert 800 <= events[0].audio_start_ms <= 1500 if events[0].type.endswith("started") else True
    assert events[-1].transcript == "".join(e.delta for e in events if e.type == f"{PREFIX}.delta")


@AS_THE_CLIENT_DOES
def test_realtime_says_what_is_wrong_and_goes_on(served):
    with realtime(served) as connection:
        for event, param in (
            ({"type": "response.create", "event_id": "mine"}, "type"),
            ({"type": ["input_audio_buffer.clear"]}, "type"),
            ({"type": "input_audio_buffer.append", "audio": "***"}, "audio"),
            ({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"abc").decode()}, "audio"),
            ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
            ({"type": "session.update", "session": 3}, "session"),
            (
                {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}},
                "session.audio.input.format",
            ),
            (
                {"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"threshold": 7}}}}},
                "session.audio.input.turn_detection",
            ),
            (
                {"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"threshold": 10**400}}}}},
                "session.audio.input.turn_detection",
            ),
            ({"type": "input_audio_buffer.append", "audio": "*", "event_id": "\ud800"}, "audio"),
        ):
            connection.send_raw(json.dumps(event))
            answer = connection.recv()
            assert answer.type == "error" and answer.error.param == param, answer
            assert answer.error.event_id == event.get("event_id")
        connection.send_raw("no json")
        assert connection.recv().error.code == "invalid_json"
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"


@AS_THE_CLIENT_DOES
def test_a_realtime_session_remembers_only_what_it_knows(served):
    with realtime(served) as connection:
        for number in range(3):
            told = {"transcription": {"language": "en", f"other{number}": "a" * 1000}}
            connection.send_raw(json.dumps({"type": "session.update", "session": {"audio": {"input": told}}}))
            answer = connection.recv()
        assert set(answer.to_dict()["session"]["audio"]["input"]["transcription"]) == {"model", "language"}


def test_an_answer_to_a_connection_that_was_closed_is_no_failure(served):
    class Closed:
        async def send_text(self, text):
            raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")

    with pytest.raises(WebSocketDisconnect):
        asyncio.run(Connection(Closed(), served[1]).send("{}"))


# Wyoming


async def said(port, samples, rate=16000, channels=1):
    """What Home Assistant does: describe, then audio, then the transcript."""
    events = []
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(rate, 2, channels).event())
        for start in range(0, len(samples), 1024):
            await client.write_event(AudioChunk(rate, 2, channels, samples[start : start + 1024].tobytes()).event())
        await client.write_event(AudioStop().event())
        while not events or not TranscriptStop.is_type(events[-1].type):
            events.append(await asyncio.wait_for(client.read_event(), 30))
            assert events[-1] is not None
    return events


def test_wyoming_describes_itself(served):
    async def ask():
        async with AsyncTcpClient("127.0.0.1", served[1].wyoming_port) as client:
            await client.write_event(Describe().event())
            return Info.from_event(await asyncio.wait_for(client.read_event(), 30))

    info = asyncio.run(ask())
    (program,) = info.asr
    assert program.supports_transcript_streaming and program.models[0].name == "english"
    assert program.models[0].languages == ["en"] and program.installed


def test_wyoming_tells_the_language_of_each_model(tmp_path):
    model = onnx.load(SMALL)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    card = {**json.loads(properties["speechrnn.card"]), "language": "de"}
    onnx.helper.set_model_props(model, {**properties, "speechrnn.card": json.dumps(card)})
    onnx.save(model, tmp_path / "german.onnx")
    with running_server([SMALL, str(tmp_path / "german.onnx")], wyoming_port=0) as (_, service):

        async def ask():
            async with AsyncTcpClient("127.0.0.1", service.wyoming_port) as client:
                await client.write_event(Describe().event())
                return Info.from_event(await asyncio.wait_for(client.read_event(), 30))

        (program,) = asyncio.run(ask()).asr
    assert [model.languages for model in program.models] == [["en"], ["de"]]


def test_wyoming_transcribes_what_is_streamed(served):
    for rate, channels in ((16000, 1), (44100, 2)):
        samples = speech(CLIPS[0], rate)
        sent = samples if channels == 1 else np.stack([samples, samples], axis=1)
        events = asyncio.run(said(served[1].wyoming_port, sent, rate, channels))
        assert TranscriptStart.is_type(events[0].type)
        (whole,) = (Transcript.from_event(event).text for event in events if Transcript.is_type(event.type))
        chunks = [TranscriptChunk.from_event(event).text for event in events if TranscriptChunk.is_type(event.type)]
        assert "".join(chunks) == whole
        assert words_of(whole) == [word.word for word in streamed(samples, rate)]


@pytest.mark.parametrize(
    "sent",
    [
        b"no json\n",
        b"[]\n",
        b'{"data": {}}\n',
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 4, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 3, "width": 2, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 1%s, "width": 2, "channels": 1}}\n' % (400 * b"0"),
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1.0}}\n',
        b'{"type": "audio-stop"}\n',
        b'{"type": "audio-stop", "data_length": 1e999}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "audio-chunk", "payload_length": -1}\n',
        b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 3}\nabc',
        b"x" * 100_000,
    ],
)
def test_wyoming_refuses_what_it_cannot_understand(served, sent):
    async def ask():
        async with AsyncTcpClient("127.0.0.1", served[1].wyoming_port) as client:
            client._writer.write(sent)
            events = []
            while (event := await asyncio.wait_for(client.read_event(), 30)) is not None:
                events.append(event)
            return events

    events = asyncio.run(ask())
    assert Error.is_type(events[-1].type) and Error.from_event(events[-1]).text
    assert Error.from_event(events[-1]).code != "server-failed"


def test_wyoming_hears_a_chunk_in_the_format_that_the_chunk_tells(served):
    samples = speech(CLIPS[0])
    both = np.repeat(samples, 2).tobytes()

    async def said(*events):
        async with AsyncTcpClient("127.0.0.1", served[1].wyoming_port) as client:
            for event in events:
                await client.write_event(event.event())
            while (event := await client.read_event()) is not None:
                if Transcript.is_type(event.type) or Error.is_type(event.type):
                    return event
        return None

    start, stop = AudioStart(16000, 2, 1), AudioStop()
    found = asyncio.run(said(start, AudioChunk(16000, 2, 2, both), stop))
    assert words_of(Transcript.from_event(found).text) == [word.word for word in streamed(samples)]
    changed = asyncio.run(said(start, AudioChunk(16000, 2, 1, samples.tobytes()), AudioChunk(16000, 2, 2, both), stop))
    assert "cannot change before `audio-stop`" in Error.from_event(changed).text


def test_wyoming_tells_a_client_that_is_still_sending_what_is_wrong(served):
    async def said():
        async with AsyncTcpClient("127.0.0.1", served[1].wyoming_port) as client:
            await client.write_event(AudioStart(16000, 4, 1).event())  # 32 bits are refused
            for _ in range(20):
                await asyncio.sleep(0.02)
                await client.write_event(AudioChunk(16000, 4, 1, bytes(4096)).event())
            return await asyncio.wait_for(client.read_event(), 30)

    assert "Audio must have 16 bits" in Error.from_event(asyncio.run(said())).text


def test_wyoming_answers_a_ping_with_what_it_holds(served):
    async def ask(data):
        async with AsyncTcpClient("127.0.0.1", served[1].wyoming_port) as client:
            client._writer.write(b'{"type": "ping", "data": %s}\n' % data)
            return await asyncio.wait_for(client.read_event(), 30)

    for data in (b'{"kind": 1, "self": 2}', b'{"text": "\\ud800"}'):
        assert asyncio.run(ask(data)).data == json.loads(data)


def test_wyoming_does_not_wait_for_those_who_say_nothing():
    with (
        running_server([SMALL], wyoming_port=0, idle_seconds=0.3) as (_, service),
        socket.create_connection(("127.0.0.1", service.wyoming_port), timeout=10) as silent,
    ):
        silent.sendall(b'{"type": "audio-chunk", "payload_length": 100}\n')
        assert silent.recv(100) == b""


def test_what_is_shared_by_streams_is_the_model_alone():
    session = loading.load_session(FIRST / "streaming.onnx", streaming=True)
    signal = np.random.default_rng(0).standard_normal(16000).astype("float32")
    one, two = session.new_stream(), session.new_stream()
    found = [one.advance(signal[:5000]), two.advance(-signal)]
    found.append(one.advance(signal[5000:]))
    np.testing.assert_allclose(np.concatenate([found[0], found[2]]), session.advance(signal), atol=1e-5)
    assert sr.__version__


# Many at once


def test_streams_that_are_stepped_together_say_what_each_says_alone(tmp_path):
    """A model in float32: blocks of several streams are one batch, and no word depends on the neighbors."""
    examples = [sr.Example(path="none.wav", duration=1.0, text="ab b")]
    model = sr.SpeechRecognizer.for_manifest(
        examples, units=8, layers=2, convolutions=1, bidirectional=False, features={"normalize": None}
    )
    rng = np.random.default_rng(2)
    for weight in model.network.weights:
        weight.assign(weight.numpy() + 0.4 * np.abs(rng.normal(size=weight.shape)).astype("float32"))
    model.get_config()
    path = model.export(tmp_path / "float.onnx", streaming=True)
    alone = loading.load_session(path, streaming=True)
    assert alone.can_batch_steps
    assert not loading.load_session("english_letters_numbers_streaming", streaming=True).can_batch_steps  # 8 bits
    signals = [0.1 * rng.standard_normal(size).astype("float32") for size in (9000, 14000, 16000, 7000, 12000, 16000)]
    expected = [alone.logits([signal])[0] for signal in signals]
    batches, stepped = [], []

    def runner(session):
        stepped.append(StepBatcher(session, max_streams=4, on_batch=batches.append))
        return stepped[0]

    shared = loading.load_session(path, streaming=True)
    shared.run_with(runner)
    begin = threading.Barrier(len(signals))

    def listen(signal):
        stream, found = shared.new_stream(), []
        begin.wait()
        for start in range(0, len(signal), 1600):
            found.append(stream.advance(signal[start : start + 1600]))
        return np.concatenate([*found, stream.flush()])

    with ThreadPoolExecutor(len(signals)) as pool:
        found = list(pool.map(listen, signals))
    stepped[0].close()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert sum(batches) > len(batches) and max(batches) <= 4  # several at once, and no more than may be
    with running_server([path]) as (url, service):
        assert isinstance(service.models.listener._session, StepBatcher)
        samples = (32767 * signals[1]).astype("<i2")
        own = loading.load_session(path, streaming=True)
        pushed = own.push(samples.astype("float32") / 32768)
        assert vosk(url.replace("http", "ws"), samples)[-1]["text"] == " ".join(
            word.word for word in (*pushed.words, *own.finish().words)
        )


def test_a_step_that_fails_tells_each_stream_of_its_batch():
    class Broken:
        def run(self, outputs, inputs):
            raise ValueError("it cannot")

    together = StepBatcher(Broken(), max_streams=4)
    with pytest.raises(ValueError, match="it cannot"):
        together.run(["logits"], {"samples": np.zeros((1, 4))})
    together.close()


def test_a_thousand_connections_are_bounded_and_cost_those_inside_nothing(monkeypatch, caplog):
    """Places for 4 streams and 50 connections; 1,000 knock while four people speak."""
    monkeypatch.setattr(running, "_HEADER_SECONDS", 0.3)
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    asked = f"GET /vosk HTTP/1.1\r\nHost: a\r\n{upgrade}{key}\r\n", "GET /healthz HTTP/1.1\r\nHo"

    def used():
        with open("/proc/self/statm") as file:
            return len(os.listdir("/proc/self/fd")), os.sysconf("SC_PAGE_SIZE") * int(file.read().split()[1])

    async def knock(port, number):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked[number % 2].encode())
            said = await asyncio.wait_for(reader.read(), 60)
            writer.close()
        except OSError:
            return "let go"
        if said.startswith(b"HTTP/1.1 101") and (1013).to_bytes(2, "big") in said:
            return "1013"
        return "503" if said.startswith(b"HTTP/1.1 503") else "let go"

    async def knocks(port, count):
        return Counter(await asyncio.gather(*(knock(port, number) for number in range(count))))

    spoken, flooded = threading.Barrier(5), threading.Event()

    def speak(url, path):
        samples, said = speech(path), []
        with connect(url.replace("http", "ws"), open_timeout=30) as websocket:
            for part in np.array_split(samples, 2):
                websocket.send(part.tobytes())
                said.append(json.loads(websocket.recv(timeout=60)))
                if len(said) == 1:
                    spoken.wait()
                    flooded.wait()
            websocket.send('{"eof" : 1}')
            said.append(json.loads(websocket.recv(timeout=60)))
        return " ".join(answer["text"] for answer in said if "text" in answer)

    with running_server(["default"], streams=4, connections=50) as (url, service), ThreadPoolExecutor(4) as pool:
        people = [pool.submit(speak, url, path) for path in CLIPS[:4]]
        spoken.wait()
        connections, port = service.server.server_state.connections, int(url.rpartition(":")[2])
        found, after = Counter(), [used()]
        for count in (20, 330, 330, 320):  # the first of which find room to be told that there is no place
            found += asyncio.run(knocks(port, count))
            for _ in range(200):
                if len(connections) <= 4:
                    break
                time.sleep(0.02)
            after.append(used())
        flooded.set()
        texts = [one.result() for one in people]
    assert sum(found.values()) == 1000 and found["1013"] >= 10 and found["let go"] > 500
    assert "the server failed" not in caplog.text  # to be full is no failure
    assert all(files <= after[0][0] + 3 for files, _ in after)
    assert after[-1][1] - after[1][1] < 16e6
    for path, text in zip(CLIPS, texts, strict=False):
        assert words_of(text) == [word.word for word in streamed(speech(path))]
