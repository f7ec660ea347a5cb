"""Files that libsndfile alone would read in part, without a word: read whole, or refused."""

import mmap
import os
import re
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechrnn import audio
from speechrnn.audio import headers, mpeg, sections
from speechrnn.faults import kind_of

RATE = 16000
FORMS = {
    "wav": ("WAV", "PCM_16"), "rf64": ("RF64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"), "caf": ("CAF", "PCM_16"), "sph": ("NIST", "PCM_16"), "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
}  # fmt: skip


def recorded(path, ending, *, seconds=1.0, tone=9):
    form, coding = FORMS[ending]
    signal = np.sin(np.arange(round(seconds * RATE)) / tone) * 0.3
    soundfile.write(path, signal, RATE, format=form, subtype=coding)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.any"


@pytest.mark.parametrize("ending", FORMS)
def test_recordings_one_behind_the_other_are_read_as_one(ending, path):
    one, two = recorded(path, ending), recorded(path, ending, seconds=1.5, tone=5)
    path.write_bytes(one)
    first = audio.read(path)[0]
    path.write_bytes(two)
    second = audio.read(path)[0]
    path.write_bytes(one + two)
    assert audio.probe(path).num_samples == len(first) + len(second)
    found = audio.read(path)[0]
    np.testing.assert_allclose(found, np.concatenate([first, second]), rtol=0, atol=1e-6)
    if ending not in ("mp3", "opus"):  # whose decoders begin anew where they are sent
        np.testing.assert_allclose(audio.read(path, offset=1.1, duration=0.5)[0], found[17600:25600], atol=1e-6)


def test_recordings_of_different_rates_are_not_joined(path):
    one = recorded(path, "wav")
    soundfile.write(path, np.zeros(800), 8000, format="WAV")
    path.write_bytes(one + path.read_bytes())
    with pytest.raises(ValueError, match=r"16000 Hz with 1 channels and of 8000 Hz") as caught:
        audio.read(path)
    assert kind_of(caught.value) == "joined"


def test_recordings_of_different_containers_are_not_joined(path):
    one, two = recorded(path, "wav"), recorded(path, "flac", seconds=0.1)
    path.write_bytes(one + two)
    with pytest.raises(ValueError, match=r"concatenated recordings, WAV and, from byte 32,044 on, FLAC") as caught:
        audio.read(path)
    assert kind_of(caught.value) == "joined"


@pytest.mark.parametrize("ending", ["wav", "aiff"])
def test_samples_behind_those_that_are_counted_are_not_left_out(ending, path):
    """The whole has the size that its header says, and its chunk of samples a smaller one."""
    data = bytearray(recorded(path, ending))
    at = data.index(b"data" if ending == "wav" else b"SSND") + 4
    data[at : at + 4] = struct.pack("<I" if ending == "wav" else ">I", 108)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"its header promises \d+ bytes, and 31,\d+ more follow") as caught:
        audio.read(path)
    assert kind_of(caught.value) == "truncated"


@pytest.mark.parametrize("part", [0.98, 0.5])
@pytest.mark.parametrize("ending", FORMS)
def test_what_is_cut_off_is_refused(ending, part, path):
    data = recorded(path, ending)
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        audio.read(path)


def test_an_ogg_file_that_is_cut_off_between_pages_is_refused(path):
    data = recorded(path, "ogg", seconds=4)
    path.write_bytes(data[: data.rfind(b"OggS\0")])
    with pytest.raises(ValueError, match="breaks off"):
        audio.probe(path)


def test_an_ogg_file_that_lacks_a_page_is_refused(path, rng):
    soundfile.write(path, 0.1 * rng.standard_normal(8 * RATE), RATE, format="OGG", subtype="VORBIS")
    data = path.read_bytes()
    pages = [match.start() for match in re.finditer(b"OggS\0", data)]
    path.write_bytes(data[: pages[3]] + data[pages[4] :])
    with pytest.raises(ValueError, match="lacks a page"):
        audio.read(path)


@pytest.mark.parametrize("ending", FORMS)
def test_an_id3_tag_in_front_changes_nothing(ending, path):
    data = recorded(path, ending)
    plain = audio.read(path)[0]
    path.write_bytes(b"ID3\3\0\0" + bytes([0, 0, 0x40, 0]) + bytes(0x40 << 7) + data)
    np.testing.assert_array_equal(audio.read(path)[0], plain)


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"x" * 300, b"\xff\xfb\x90" * 50], ids=["zeros", "text", "marks"])
@pytest.mark.parametrize("xing", [True, False])
def test_junk_before_the_first_mp3_frame_loses_nothing(junk, xing, path):
    data = recorded(path, "mp3", seconds=3)
    if not xing:
        data = data[mpeg.frame_size(data) :]
    path.write_bytes(data)
    plain = audio.read(path)[0]
    path.write_bytes(junk + data)
    np.testing.assert_array_equal(audio.read(path)[0], plain)


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 4.0])
def test_a_flac_header_that_promises_less_than_there_is_cuts_nothing_off(path, coding, seconds, rng):
    signal = 0.1 * rng.standard_normal((round(seconds * RATE), 2))
    soundfile.write(path, signal, RATE, format="FLAC", subtype=coding)
    whole = bytearray(path.read_bytes())
    for behind in (b"", b"TAG" + bytes(125)):
        path.write_bytes(bytes(whole) + behind)
        assert len(audio.read(path)[0]) == len(signal)
        damaged = whole[:22] + struct.pack(">I", len(signal) - 1) + whole[26:] + behind
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=rf"promises {len(signal) - 1:,} samples, and its last frame .*{len(signal):,}th"
        ):
            audio.read(path)


def resident():
    """Bytes of mapped files in memory."""
    found = re.search(r"RssFile:\s+(\d+)", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says what is in memory")
@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_looking_for_the_end_of_a_long_file_keeps_little_of_it_in_memory(path, ending, monkeypatch):
    monkeypatch.setattr(sections, "_MAX_MAPPED", 1 << 18)
    monkeypatch.setattr(headers, "_SEARCH_BLOCK", 1 << 17)
    one = recorded(path, ending, seconds=60)
    count = (6 << 20) // len(one)
    with open(path, "wb") as file:
        file.writelines([one, bytes(6 << 20)] if ending == "flac" else [one] * count)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        before = resident()
        if ending == "mp3":
            assert len(mpeg.recordings(data)) == count
        elif ending == "flac":
            assert headers.end("a", "FLAC", data, 0) == len(data)
        else:
            stop = 0
            while stop < len(data):
                stop = headers.end("a", "OGG", data, stop)
        assert resident() - before < 2 << 20


def test_bw64_is_rf64_by_another_name(path):
    data = recorded(path, "rf64")
    plain = audio.read(path)[0]
    path.write_bytes(b"BW64" + data[4:])
    np.testing.assert_array_equal(audio.read(path)[0], plain)
    path.write_bytes(b"BW64" + data[4:-100])
    with pytest.raises(ValueError, match="promises"):
        audio.read(path)


def test_junk_between_mp3_frames_is_refused(path):
    data = recorded(path, "mp3", seconds=3)
    path.write_bytes(data[:2000] + b"x" * 9000 + data[2000:])
    with pytest.raises(ValueError, match="are no audio"):
        audio.read(path)


def test_a_header_of_zeros_is_refused_at_once(path):
    path.write_bytes(b"RIFF" + struct.pack("<I", 1 << 26) + b"WAVE" + bytes(1 << 26))
    started = time.process_time()
    with pytest.raises(ValueError, match="a chunk should begin"):
        audio.read(path)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("coding, channels, bits, frame", [(1, 1, 24, 4), (1, 2, 16, 2), (7, 1, 16, 2), (3, 1, 32, 8)])
def test_a_wav_header_whose_frames_are_not_as_wide_as_its_samples_is_refused(coding, channels, bits, frame, path):
    content = recorded(path, "wav")
    rates = struct.pack("<II", RATE, RATE * frame)
    path.write_bytes(
        content[:20] + struct.pack("<HH", coding, channels) + rates + struct.pack("<HH", frame, bits) + content[36:]
    )
    with pytest.raises(ValueError, match="contradicts itself") as caught:
        audio.read(path)
    assert kind_of(caught.value) == "undecodable"


def test_samples_behind_those_that_a_wav_header_promises_are_not_lost(path):
    data = bytearray(recorded(path, "wav"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 8000)
    data[4:8] = struct.pack("<I", 8036)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="was not closed"):
        audio.read(path)


def test_a_format_whose_length_cannot_be_checked_is_refused(path):
    soundfile.write(path, np.zeros(800), 8000, format="IRCAM")
    with pytest.raises(ValueError, match=r"IRCAM.*ffmpeg -i in"):
        audio.read(path)


def test_channels_that_cancel_each_other_are_refused(path, rng):
    signal = 0.1 * rng.standard_normal(8000)
    soundfile.write(path, np.stack([signal, -signal], 1), RATE, format="WAV")
    with pytest.raises(ValueError, match=r"channel=0 \(--channel 0\)"):
        audio.read(path)
    assert len(audio.read(path, channel=1)[0]) == 8000
    soundfile.write(path, np.zeros((8000, 2)), RATE, format="WAV")
    assert not audio.read(path)[0].any()


def test_many_channels_are_read_in_bounded_blocks(path, monkeypatch):
    soundfile.write(path, np.zeros((100, 500)), RATE, format="WAV")
    assert len(audio.read(path)[0]) == 100


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_pipe_is_read_by_its_name(ending, path, tmp_path):
    data = recorded(path, ending)
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    thread.start()
    found = audio.read(tmp_path / "pipe")[0]
    thread.join()
    np.testing.assert_array_equal(found, audio.read(path)[0])


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_pipe_with_two_recordings_says_so(ending, path):
    data = recorded(path, ending)
    path.write_bytes(data + data)
    with open(path, "rb") as pipe, pytest.raises(ValueError, match="another recording follows"):
        list(audio.read_blocks(pipe))
