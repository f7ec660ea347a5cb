"""Recordings coded in blocks last as long as their header and their bytes say, and not as long as whole blocks."""

import io
import struct

import numpy as np
import pytest
import soundfile

from speechrnn import audio

_IMA_STEPS = (
    "7 8 9 10 11 12 13 14 16 17 19 21 23 25 28 31 34 37 41 45 50 55 60 66 73 80 88 97 107 118 130 143 157 173 190 209 "
    "230 253 279 307 337 371 408 449 494 544 598 658 724 796 876 963 1060 1166 1282 1411 1552 1707 1878 2066 2272 2499 "
    "2749 3024 3327 3660 4026 4428 4871 5358 5894 6484 7132 7845 8630 9493 10442 11487 12635 13899 15289 16818 18500 "
    "20350 22385 24623 27086 29794 32767"
)


def ima(block):
    """Samples of a block of one channel (IMA, Recommended practices for enhancing digital audio compatibility)."""
    steps = list(map(int, _IMA_STEPS.split()))
    value, index, _ = struct.unpack("<hBB", block[:4])
    found = [value]
    for byte in block[4:]:
        for code in (byte & 15, byte >> 4):
            step = steps[index]
            change = (step >> 3) + sum(step >> shift for bit, shift in ((4, 0), (2, 1), (1, 2)) if code & bit)
            value = int(np.clip(value + (-change if code & 8 else change), -32768, 32767))
            index = int(np.clip(index + (-1, -1, -1, -1, 2, 4, 6, 8)[code & 7], 0, 88))
            found.append(value)
    return found


def coded(kind, subtype, samples, channels=1):
    """A file of so many samples, and the place of its samples."""
    tone = 0.5 * np.sin(np.arange(samples)[:, None] / np.array([10, 17])[:channels])
    soundfile.write(file := io.BytesIO(), tone, 8000, subtype=subtype, format=kind)
    return file.getvalue(), file.getvalue().index(b"data") + 8


def cut(whole, place, bytes_left, fact=None):
    """A WAV file whose samples end early, which its header says."""
    body = whole[place : place + bytes_left]
    head = whole[: place - 4]
    if fact is not None:
        at = head.index(b"fact") + 8
        head = head[:at] + struct.pack("<I", fact) + head[at + 4 :]
    file = head + struct.pack("<I", bytes_left) + body + b"\0" * (bytes_left % 2)
    return file[:4] + struct.pack("<I", len(file) - 8) + file[8:]


@pytest.mark.parametrize("left", [768, 767, 764, 640, 517, 516, 515, 513, 512])
def test_the_last_block_of_ima_adpcm_may_be_short(tmp_path, left):
    whole, place = coded("WAV", "IMA_ADPCM", 1515)
    body = whole[place : place + left]
    expected = [value for i in range(0, left, 256) if left - i >= 4 for value in ima(body[i : i + 256])]
    path = tmp_path / "a.wav"
    path.write_bytes(cut(whole, place, left, fact=1515))
    signal, _ = audio.read(path)
    np.testing.assert_array_equal(np.round(signal * 32768), expected)
    assert audio.probe(path).num_samples == len(expected)
    np.testing.assert_array_equal(np.concatenate(list(audio.read_blocks(io.BytesIO(path.read_bytes())))), signal)
    part, _ = audio.read(path, offset=0.1)
    np.testing.assert_array_equal(part, signal[800:])


@pytest.mark.parametrize(
    ("subtype", "channels", "left", "samples"),
    [
        ("IMA_ADPCM", 2, 512 + 8 + 20, 505 + 1 + 16),
        ("MS_ADPCM", 1, 256 + 6, 500),
        ("GSM610", 1, 130 + 33, 640 + 160),
        ("GSM610", 1, 130 + 32, 640),
        ("G721_32", 1, 61, 122),
    ],
)
def test_a_short_block_gives_the_samples_that_it_holds(tmp_path, subtype, channels, left, samples):
    whole, place = coded("WAV", subtype, 4000, channels)
    (tmp_path / "whole.wav").write_bytes(whole)
    (tmp_path / "cut.wav").write_bytes(cut(whole, place, left))
    expected, _ = audio.read(tmp_path / "whole.wav", channel=channels - 1)
    signal, _ = audio.read(tmp_path / "cut.wav", channel=channels - 1)
    assert len(signal) == samples
    np.testing.assert_array_equal(signal, expected[:samples])


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAV", "G721_32"), ("W64", "GSM610")]
)
@pytest.mark.parametrize("samples", [1, 999, 1000, 1280, 3333])
def test_what_fills_the_last_block_is_no_sound(tmp_path, kind, subtype, samples):
    (tmp_path / "a.wav").write_bytes(coded(kind, subtype, samples)[0])
    signal, _ = audio.read(tmp_path / "a.wav")
    assert len(signal) == samples
    full, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(signal, full[:samples])


@pytest.mark.parametrize(("channels", "left"), [(1, 256 + 57), (2, 512 + 14)])
def test_a_short_block_of_ms_adpcm_is_refused_since_it_would_be_left_out(tmp_path, channels, left):
    whole, place = coded("WAV", "MS_ADPCM", 4000, channels)
    (tmp_path / "a.wav").write_bytes(short := cut(whole, place, left))
    for source in (tmp_path / "a.wav", io.BytesIO(short)):
        with pytest.raises(ValueError, match="ends within a block: 500 of its 50|ends within a block: 500 of its 602"):
            list(audio.read_blocks(source))


def test_a_number_of_samples_that_cannot_be_is_not_heeded(tmp_path):
    whole, place = coded("WAV", "IMA_ADPCM", 1515)
    for fact in (0, 3030, 505):
        (tmp_path / "a.wav").write_bytes(cut(whole, place, 768, fact=fact))
        assert audio.probe(tmp_path / "a.wav").num_samples == 1515


def test_recordings_in_blocks_one_behind_the_other(tmp_path):
    whole, place = coded("WAV", "IMA_ADPCM", 1515)
    first = cut(whole, place, 640)
    (tmp_path / "a.wav").write_bytes(first)
    (tmp_path / "b.wav").write_bytes(first + whole)
    alone, _ = audio.read(tmp_path / "a.wav")
    both, _ = audio.read(tmp_path / "b.wav")
    assert len(both) == len(alone) + 1515
    np.testing.assert_array_equal(both[: len(alone)], alone)
    np.testing.assert_array_equal(audio.read(tmp_path / "b.wav", offset=0.2)[0], both[1600:])


def test_blocks_of_unknown_length_do_not_go_on_for_ever_in_a_pipe():
    whole, place = coded("WAV", "GSM610", 4000)
    endless = whole[: place - 4] + struct.pack("<I", 0xED00034D) + whole[place:]
    with pytest.raises(ValueError, match="is GSM610 of unknown length"):
        list(audio.read_blocks(io.BytesIO(endless)))
