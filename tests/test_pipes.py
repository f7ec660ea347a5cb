"""Audio from a pipe gives the samples that the file gives, in bounded memory, and as it arrives."""

import io
import os
import struct
import threading

import numpy as np
import pytest
from fakes import RATE, Speller, record, spoken, transcribed

from speechrnn import audio, cli


class Pipe:
    """Bytes that can be read once and forwards, a few at a time."""

    def __init__(self, data):
        self._bytes = io.BytesIO(data)

    def read(self, size=-1):
        return self._bytes.read(size)


@pytest.fixture
def signal(rng):
    return (0.1 * rng.standard_normal(50_000)).astype("float32")


def piped(data, **options):
    return np.concatenate(list(audio.read_blocks(Pipe(data), block=0.5, **options)))


@pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_pipe_gives_what_the_file_gives(tmp_path, signal, ending):
    path = tmp_path / f"a{ending}"
    audio.write(path, signal, RATE)
    np.testing.assert_array_equal(piped(path.read_bytes(), sample_rate=8000), audio.read(path, sample_rate=8000)[0])


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF])
def test_a_wav_header_that_does_not_know_the_length(tmp_path, signal, size):
    audio.write(tmp_path / "a.wav", signal, RATE)
    data = (tmp_path / "a.wav").read_bytes()
    at = data.index(b"data") + 4
    np.testing.assert_array_equal(
        piped(data[:at] + struct.pack("<I", size) + data[at + 4 :]), audio.read(tmp_path / "a.wav")[0]
    )


def test_headerless_samples(signal):
    raw = np.rint(signal * 32767).astype("<i2")
    np.testing.assert_array_equal(piped(raw.tobytes(), encoding="s16le@16000"), raw / np.float32(32768))
    stereo = np.stack([raw, 0 * raw], axis=1)
    np.testing.assert_array_equal(piped(stereo.tobytes(), encoding="s16le@16000x2"), raw / np.float32(65536))


@pytest.mark.parametrize(("data", "said"), [(b"", "the pipe is empty"), (b"no audio at all" * 9, "cannot be decoded")])
def test_no_audio_is_said(data, said):
    with pytest.raises(ValueError, match=f"^-: .*{said}"):
        piped(data)


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_a_pipe_that_breaks_off_is_said(tmp_path, signal, ending):
    audio.write(tmp_path / f"a{ending}", signal, RATE)
    data = (tmp_path / f"a{ending}").read_bytes()
    with pytest.raises(ValueError, match=r"^-: .*Copy or download it again"):
        piped(data[: len(data) // 2])


def test_blocks_come_before_the_pipe_ends(signal):
    reader, writer = os.pipe()
    samples = np.rint(signal * 32767).astype("<i2").tobytes()
    go_on = threading.Event()

    def write():
        with open(writer, "wb", buffering=0) as out:
            out.write(samples[:80_000])
            assert go_on.wait(10)
            out.write(samples[80_000:])

    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb") as source:
        blocks = audio.read_blocks(source, block=1.0, encoding="s16le@16000")
        count = len(next(blocks))
        go_on.set()
        count += sum(map(len, blocks))
    thread.join()
    assert count == len(signal)


def test_a_pipe_is_transcribed_beside_files(tmp_path):
    path = record(tmp_path / "a.wav", "big")
    audio.write(tmp_path / "b.wav", spoken("bad cab"), RATE)
    outcomes = transcribed(Speller(), [path, Pipe((tmp_path / "b.wav").read_bytes())])
    assert [(outcome.path, outcome.text) for outcome in outcomes] == [(path, "big"), ("-", "bad cab")]


def test_a_pipe_is_transcribed_by_its_name(tmp_path):
    record(tmp_path / "a.wav", "big")
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=((tmp_path / "a.wav").read_bytes(),))
    thread.start()
    (outcome,) = transcribed(Speller(), str(tmp_path / "pipe"))
    thread.join()
    assert outcome.text == "big"


def two_speakers(path):
    one, two = spoken("big"), spoken("bad cab")
    audio.write(path, np.stack([np.pad(one, (0, len(two) - len(one))), two], 1), RATE)
    return str(path)


def test_one_channel_and_each_of_them(tmp_path):
    path = two_speakers(tmp_path / "call.wav")
    (second,) = transcribed(Speller(), [path], channel=1)
    assert (second.text, second.channel) == ("bad cab", None)
    found = list(transcribed(Speller(), [path, record(tmp_path / "a.wav", "cab")], each_channel=True))
    assert [(one.text, one.channel) for one in found] == [("big", 0), ("bad cab", 1), ("cab", 0)]
    assert [one.to_dict()["channel"] for one in found] == [0, 1, 0]
    with pytest.raises(ValueError, match="exclude each other"):
        list(transcribed(Speller(), [path], channel=1, each_channel=True))
    with pytest.raises(ValueError, match="has 2 channels"):
        list(transcribed(Speller(), [path], channel=2))


def test_channels_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli.terminal, "load_any", lambda path, kind=None: Speller())
    path = two_speakers(tmp_path / "call.wav")
    assert cli.main(["transcribe", path, "--channel", "0"]) == 0
    assert capsys.readouterr().out == "big\n"
    out = tmp_path / "out"
    assert cli.main(["transcribe", path, "--each-channel", "--out-dir", str(out)]) == 0
    assert {file.name: file.read_text() for file in out.iterdir()} == {
        "call.channel0.txt": "big\n",
        "call.channel1.txt": "bad cab\n",
    }
