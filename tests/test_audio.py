import errno
import io
import os
import re
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from speechrnn import audio, files
from speechrnn.audio import mpeg
from speechrnn.faults import kind_of


@pytest.fixture
def speechlike(rng):
    time = np.arange(48000) / 16000
    return (0.5 * np.sin(2 * np.pi * 127 * time) * np.cos(5 * time) + 0.01 * rng.standard_normal(48000)).astype("f4")


def sphere(data, **fields):
    lines = [f"{k} -i {v}" if isinstance(v, int) else f"{k} -s{len(v)} {v}" for k, v in fields.items()]
    return "\n".join(["NIST_1A", "   1024", *lines, "end_head", ""]).encode().ljust(1024) + data


def an4_sphere(data, count, order, **more):
    return sphere(
        data,
        channel_count=1,
        sample_count=count,
        sample_rate=16000,
        sample_n_bytes=2,
        sample_byte_format=order,
        sample_sig_bits=16,
        **{"sample_coding": "pcm"} | more,
    )


LOSSLESS = [
    ("a.wav", "WAV", "PCM_U8", 2**-7), ("a.wav", "WAV", "PCM_16", 2**-15), ("a.wav", "WAV", "PCM_24", 2**-23),
    ("a.wav", "WAV", "PCM_32", 2**-24), ("a.wav", "WAV", "FLOAT", 0), ("a.wav", "WAV", "DOUBLE", 0),
    ("a.wav", "WAVEX", "PCM_24", 2**-23), ("a.wav", "RF64", "PCM_16", 2**-15), ("a.flac", "FLAC", "PCM_16", 2**-15),
    ("a.flac", "FLAC", "PCM_24", 2**-23), ("a.sph", "NIST", "PCM_16", 2**-15), ("a.aiff", "AIFF", "PCM_16", 2**-15),
]  # fmt: skip
LOSSY = [
    ("a.ogg", "OGG", "VORBIS"),
    ("a.opus", "OGG", "OPUS"),
    ("a.ogg", "OGG", "OPUS"),
    ("a.mp3", "MP3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize(("name", "container", "subtype", "tolerance"), LOSSLESS, ids=lambda v: str(v))
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_lossless_formats(tmp_path, speechlike, name, container, subtype, tolerance, channels):
    signal = speechlike[:, None] * np.linspace(0.2, 1, channels, dtype="f4")
    path = tmp_path / name
    soundfile.write(path, signal, 44100, format=container, subtype=subtype)
    info = audio.probe(path)
    assert (info.sample_rate, info.num_samples, info.channels) == (44100, 48000, channels)
    assert info.duration == 48000 / 44100
    mixed, rate = audio.read(path)
    assert rate == 44100 and mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, signal.mean(axis=1), rtol=0, atol=tolerance + 1e-6)
    last, _ = audio.read(path, channel=channels - 1)
    np.testing.assert_allclose(last, signal[:, -1], rtol=0, atol=tolerance + 1e-7)


@pytest.mark.parametrize(("name", "container", "subtype"), LOSSY)
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_lossy_formats(tmp_path, speechlike, name, container, subtype, rate):
    path = tmp_path / name
    soundfile.write(path, speechlike, rate, format=container, subtype=subtype)
    info = audio.probe(path)
    signal, _ = audio.read(path)
    assert (info.sample_rate, info.num_samples) == (rate, 48000) == (rate, len(signal))
    assert np.corrcoef(signal, speechlike)[0, 1] > 0.97


@pytest.mark.parametrize(("order", "kind"), [("10", ">i2"), ("01", "<i2")])
def test_sphere_pcm_of_either_byte_order(tmp_path, rng, order, kind):
    samples = rng.integers(-32768, 32768, 4000, dtype="i2")
    (tmp_path / "a.sph").write_bytes(an4_sphere(samples.astype(kind).tobytes(), 4000, order))
    signal, rate = audio.read(tmp_path / "a.sph")
    assert rate == 16000
    np.testing.assert_array_equal(signal, samples / np.float32(32768))


def test_sphere_mu_law(tmp_path):
    codes = np.arange(256, dtype=np.uint8)
    flipped = ~codes
    # ITU-T G.711: sign, three bits of exponent, four of mantissa.
    magnitude = (((flipped & 15).astype(int) * 8 + 132) << ((flipped >> 4) & 7)) - 132
    expected = np.where(flipped & 128, -magnitude, magnitude) / 32768
    fields = {"channel_count": 1, "sample_count": 256, "sample_rate": 8000, "sample_n_bytes": 1}
    (tmp_path / "a.sph").write_bytes(sphere(codes.tobytes(), **fields, sample_coding="ulaw"))
    (tmp_path / "a.raw").write_bytes(codes.tobytes())
    for signal, rate in (audio.read(tmp_path / "a.sph"), audio.read(tmp_path / "a.raw", encoding="ulaw@8000")):
        assert rate == 8000
        np.testing.assert_allclose(signal, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        ("s16be@16000", ">i2"),
        ("s16le@16000", "<i2"),
        ("s8@16000", "i1"),
        ("s32be@16000", ">i4"),
        ("f64le@16000", "<f8"),
    ],
)
def test_headerless_samples(tmp_path, rng, encoding, kind):
    samples = rng.integers(-100, 100, 999).astype(kind)
    (tmp_path / "a.raw").write_bytes(samples.tobytes())
    signal, rate = audio.read(tmp_path / "a.raw", encoding=encoding)
    scale = 1 if kind[1] == "f" else 2.0 ** (8 * samples.itemsize - 1)
    assert rate == 16000
    np.testing.assert_allclose(signal, samples / scale, rtol=1e-6)
    stereo = audio.probe(tmp_path / "a.raw", encoding="s8@8000x3")
    assert (stereo.channels, stereo.sample_rate) == (3, 8000)


@pytest.mark.parametrize("encoding", ["s16@16000", "s16be", "pcm", "ulawbe@8000", "s16be@0", "s8@8000x0"])
def test_an_unknown_encoding_is_refused(tmp_path, encoding):
    (tmp_path / "a.raw").write_bytes(bytes(12))
    with pytest.raises(ValueError, match=r"a\.raw: an encoding is written like 's16be@16000'"):
        audio.read(tmp_path / "a.raw", encoding=encoding)


@pytest.mark.parametrize(
    ("name", "container", "subtype"), [*LOSSY, ("a.flac", "FLAC", "PCM_16"), ("a.wav", "WAV", "PCM_24")]
)
def test_a_segment_is_that_part_of_the_whole(tmp_path, speechlike, name, container, subtype):
    soundfile.write(tmp_path / name, np.tile(speechlike, 3), 16000, format=container, subtype=subtype)
    whole, _ = audio.read(tmp_path / name)
    for offset, duration in ((0.0, 0.5), (1.25, 0.5), (4.0001, 2.0), (8.9, None), (8.5, 0.505), (8.9999, None)):
        segment, _ = audio.read(tmp_path / name, offset=offset, duration=duration)
        start = round(offset * 16000)
        expected = whole[start:] if duration is None else whole[start : start + round(duration * 16000)]
        np.testing.assert_allclose(segment, expected, rtol=0, atol=2e-3 if subtype == "OPUS" else 1e-6)


def test_the_durations_of_a_manifest_read_back_to_the_sample(tmp_path):
    for count in (1, 7, 15999, 16001, 44057):
        soundfile.write(tmp_path / "a.wav", np.zeros(count), 44100)
        info = audio.probe(tmp_path / "a.wav")
        assert len(audio.read(tmp_path / "a.wav", duration=info.duration)[0]) == count == info.num_samples


def test_a_segment_beyond_the_end_is_an_error_but_rounding_is_not(tmp_path, speechlike):
    audio.write(tmp_path / "a.wav", speechlike, 16000)
    assert len(audio.read(tmp_path / "a.wav", offset=2.0, duration=1.004)[0]) == 16000
    for offset, duration in ((3.0, None), (2.0, 1.5), (99.0, 1.0)):
        with pytest.raises(ValueError, match=r"a\.wav: lasts 3\.000 s\. Received a segment from") as caught:
            audio.read(tmp_path / "a.wav", offset=offset, duration=duration)
        assert kind_of(caught.value) == "shorter than their segment"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "`offset` must be zero or more"), ({"offset": float("nan")}, "`offset` must be zero or more"),
        ({"duration": 0}, "`duration` must be positive"), ({"duration": float("inf")}, "`duration` must be positive"),
        ({"channel": 1}, "has 1 channels. Received: channel=1"), ({"channel": -1}, "Received: channel=-1"),
        ({"sample_rate": -8000}, "`sample_rate` must be positive"),
    ],
)  # fmt: skip
def test_options_out_of_range(tmp_path, speechlike, options, message):
    audio.write(tmp_path / "a.wav", speechlike, 16000)
    with pytest.raises(ValueError, match=message):
        audio.read(tmp_path / "a.wav", **options)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (48000, 16000), (11025, 16000)])
def test_resampling(tmp_path, rng, rate, wanted):
    signal = 0.1 * rng.standard_normal(3 * rate + 17).astype("f4")
    audio.write(tmp_path / "a.wav", signal, rate, subtype="FLOAT")
    expected = soxr.resample(signal, rate, wanted)
    got, got_rate = audio.read(tmp_path / "a.wav", sample_rate=wanted)
    assert got_rate == wanted and len(got) == int(np.floor(len(signal) * wanted / rate + 0.5))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(audio.resample(signal, rate, wanted), expected, rtol=0, atol=1e-6)


def test_a_resampled_tone_keeps_pitch_and_level():
    time = np.arange(44100) / 44100
    got = audio.resample(0.5 * np.sin(2 * np.pi * 440 * time), 44100, 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(got[400:-400], expected[400:-400], rtol=0, atol=1e-3)


def test_resample_checks_its_arguments():
    assert audio.resample(np.zeros((10, 2)), 8000, 16000).shape == (20, 2)
    assert audio.resample(np.zeros(0), 8000, 16000).shape == (0,)
    with pytest.raises(ValueError, match="Rates must be positive"):
        audio.resample(np.zeros(3), 0, 16000)
    with pytest.raises(ValueError, match="has shape"):
        audio.resample(np.zeros((1, 2, 3)), 8000, 16000)
    for function in (audio.resample, lambda signal, *_: audio.write("a.wav", signal, 8000)):
        with pytest.raises(
            ValueError, match=r"Samples must come before channels. Received: shape \(2, 10\); transpose"
        ):
            function(np.zeros((2, 10)), 8000, 16000)


@pytest.mark.parametrize(("name", "container", "subtype"), LOSSY)
def test_small_blocks_of_lossy_formats_are_exact_to_the_last_sample(tmp_path, rng, name, container, subtype):
    soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(50_000), 48000, format=container, subtype=subtype)
    whole, _ = soundfile.read(tmp_path / name, dtype="float32")
    for block in (997, 4096, 12345):
        np.testing.assert_array_equal(
            np.concatenate(list(audio.read_blocks(tmp_path / name, block=block / 48000))), whole
        )


@pytest.mark.parametrize("sample_rate", [None, 16000])
@pytest.mark.parametrize("block", [0.01, 0.5, 1.0, 100.0])
def test_blocks_joined_are_the_whole(tmp_path, rng, sample_rate, block):
    audio.write(tmp_path / "a.flac", 0.1 * rng.standard_normal((100_001, 2)), 44100)
    whole, rate = audio.read(tmp_path / "a.flac", sample_rate=sample_rate, offset=0.1)
    blocks = list(audio.read_blocks(tmp_path / "a.flac", block=block, sample_rate=sample_rate, offset=0.1))
    assert {len(b) for b in blocks[:-1]} <= {round(block * rate)} and 0 < len(blocks[-1]) <= round(block * rate)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_two_hours_are_read_in_bounded_memory(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((2 * 3600 * 8000, 1), "i2"), 8000)
    tracemalloc.start()
    seconds = sum(len(b) for b in audio.read_blocks(tmp_path / "a.wav", sample_rate=4000)) / 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == 7200
    assert peak < 16e6


def test_silence_is_audio_and_so_is_one_sample(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    assert not audio.read(tmp_path / "a.wav")[0].any()
    audio.write(tmp_path / "b.wav", np.ones(1), 16000)
    assert audio.read(tmp_path / "b.wav")[0].shape == (1,)
    audio.write(tmp_path / "c.wav", np.ones(1), 48000)
    with pytest.raises(ValueError, match=r"c\.wav: has no samples at 16000 Hz"):
        audio.read(tmp_path / "c.wav", sample_rate=16000)


def test_floating_point_beyond_full_scale_is_passed_on(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 3.5, -2.0]), 16000, subtype="DOUBLE")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav")[0], np.float32([0.0, 3.5, -2.0]))


def test_samples_too_large_to_compute_with_are_refused_and_unscaled_integers_are_not(tmp_path):
    path = tmp_path / "a.wav"
    for peak in (1e11, 3e38):
        soundfile.write(path, np.array([0.0, peak, -peak], "float32"), 16000, subtype="FLOAT")
        with pytest.raises(ValueError, match=r"a\.wav: has a sample of .*e\+.*, and full scale is 1"):
            audio.read(path, sample_rate=8000)
    soundfile.write(path, np.array([0.0, 2.0**31, -1.0], "float32"), 16000, subtype="FLOAT")
    assert np.isfinite(audio.read(path, sample_rate=8000)[0]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_samples_that_are_not_finite(tmp_path, bad):
    samples = np.zeros((300_000, 2))
    samples[299_999, 1] = bad
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="DOUBLE")
    with pytest.raises(ValueError, match=r"a\.wav: has samples that are NaN or infinite") as caught:
        audio.read(tmp_path / "a.wav")
    assert kind_of(caught.value) == "not finite"
    assert len(audio.read(tmp_path / "a.wav", channel=0)[0]) == 300_000


def test_missing_directory_device_and_unreadable(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.wav: there is no such file"):
        audio.probe(tmp_path / "a.wav")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        audio.read(tmp_path)
    with pytest.raises(ValueError, match="/dev/null: is not a regular file"):
        audio.read("/dev/null")


@pytest.mark.parametrize(
    ("name", "data", "kind", "message"),
    [
        ("a.wav", b"", "empty", "is empty (0 bytes)"),
        ("a.wav", b"hello, this is text\n" * 50, "undecodable", "begins with b'hello, this '"),
        ("a.wav", b"RIFF", "undecodable", "cannot be decoded as audio"),
        ("a.mp3", b"hello, this is text\n" * 50, "undecodable", "no MPEG frame"),
        ("a.ogg", b"OggS" + bytes(100), "truncated", "breaks off"),
        ("a.ogg", b"OggS\0", "truncated", "breaks off"),
        ("a.flac", b"fLaC" + bytes(100), "undecodable", "cannot be decoded as audio"),
        ("a.flac", b"version https://git-lfs.github.com/spec/v1\n", "undecodable", "run `git lfs pull`"),
        ("a.wav.gz", b"\x1f\x8b\x08" + bytes(100), "undecodable", "It is packed by gzip: unpack it."),
        ("a.wav", b"\n<!DOCTYPE html><html>" + bytes(100), "undecodable", "It is a web page"),
        ("a.m4a", b"\0\0\0\x20ftypM4A ", "undecodable", "ffmpeg -i in.m4a out.wav"),
        ("a.raw", bytes(1000), "undecodable", "encoding='s16le@16000'"),
        ("a.sph", an4_sphere(b"", 9, "10", sample_coding="pcm,embedded-shorten-v2.00"), "undecodable", "sph2pipe"),
    ],
)  # fmt: skip
def test_what_is_not_audio(tmp_path, name, data, kind, message):
    (tmp_path / name).write_bytes(data)
    for function in (audio.probe, audio.read):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            function(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert kind_of(caught.value) == kind


def test_zero_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    for function in (audio.probe, audio.read):
        with pytest.raises(ValueError, match=r"a\.wav: has no samples") as caught:
            function(tmp_path / "a.wav")
        assert kind_of(caught.value) == "empty"


@pytest.mark.parametrize("part", [0.9, 0.6, 0.3])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.sph", "a.ogg", "a.opus", "a.mp3"])
def test_a_truncated_file_is_never_read_as_a_shorter_one(tmp_path, rng, name, part):
    audio.write(tmp_path / name, 0.1 * rng.standard_normal(48000), 16000)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(part * len(data))])
    with pytest.raises(
        ValueError, match=f"{re.escape(name)}: .*(promises|breaks off|cut off|could be decoded)"
    ) as caught:
        audio.read(tmp_path / name)
    assert kind_of(caught.value) in ("truncated", "undecodable")
    with pytest.raises(ValueError, match=r"promises|breaks off|cut off|could be decoded"):
        list(audio.read_blocks(tmp_path / name, sample_rate=8000))
    if name in ("a.wav", "a.sph"):
        with pytest.raises(ValueError, match=r"promises 96,000 bytes \(3\.00 s\) of audio, the file has [\d,]+ bytes"):
            audio.probe(tmp_path / name)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36])
def test_a_wav_from_a_pipe_lasts_as_long_as_its_bytes(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.5), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(data)
    assert audio.probe(tmp_path / "a.wav").num_samples == 8000 == len(audio.read(tmp_path / "a.wav")[0])


def test_a_wav_that_was_never_closed(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.5), 16000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data.replace(b"data" + struct.pack("<I", 16000), b"data" + bytes(4)))
    with pytest.raises(ValueError, match=r"promises no audio, yet 16,000 bytes follow.*sox --ignore-length"):
        audio.read(tmp_path / "a.wav")


def test_a_flac_from_a_pipe_is_counted(tmp_path, speechlike):
    audio.write(tmp_path / "a.flac", speechlike, 16000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert audio.probe(tmp_path / "a.flac").num_samples == 48000 == len(audio.read(tmp_path / "a.flac")[0])
    np.testing.assert_allclose(
        audio.read(tmp_path / "a.flac", offset=1, duration=1)[0], speechlike[16000:32000], atol=1e-4
    )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_xing_header_is_read_to_its_end(tmp_path, speechlike, rate, channels, mode):
    signal = np.tile(speechlike, 4)
    signal[:48000] *= 0.01  # a quiet start, from which the length of a variable bit rate cannot be told
    signal = np.repeat(signal[:, None], channels, axis=1)
    soundfile.write(tmp_path / "a.mp3", signal, rate, bitrate_mode=mode, compression_level=0.5)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "b.mp3").write_bytes(b"ID3\3\0\0\0\0\0\5hello" + data[mpeg.frame_size(data) :])
    info = audio.probe(tmp_path / "b.mp3")
    signal, _ = audio.read(tmp_path / "b.mp3")
    assert (info.sample_rate, info.channels, info.num_samples) == (rate, channels, len(signal))
    assert 0 <= len(signal) - 4 * 48000 < 3 * 1152
    segment, _ = audio.read(tmp_path / "b.mp3", offset=80000 / rate, duration=16000 / rate)
    np.testing.assert_allclose(segment, signal[80000:96000], rtol=0, atol=1e-4)
    assert len(audio.read(tmp_path / "b.mp3", duration=info.duration)[0]) == len(signal)


def test_write_refuses_to_overwrite_and_to_lose(tmp_path):
    path = tmp_path / "new" / "a.wav"
    audio.write(path, np.zeros(10), 16000)
    with pytest.raises(FileExistsError, match=r"exists already.*--overwrite"):
        audio.write(path, np.ones(5), 16000)
    audio.write(path, np.ones(5), 16000, overwrite=True)
    assert audio.probe(path).num_samples == 5
    for signal, name, message in [
        ([2.0], "b.wav", "peak of 2.000"), ([np.nan], "b.wav", "NaN"), ([0.0], "b.xyz", "the ending must be one of"),
        (np.zeros((2, 3, 4)), "b.wav", "cannot hold"), (np.zeros((9, 20)), "b.flac", "cannot hold"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            audio.write(tmp_path / "new" / name, np.array(signal), 16000)
    with pytest.raises(ValueError, match="OPUS cannot hold"):
        audio.write(tmp_path / "new" / "b.opus", np.zeros(10), 44100)
    assert [p.name for p in path.parent.iterdir()] == ["a.wav"]


def test_a_full_disk_leaves_no_partial_file(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, mode):
        path.touch()
        return Full()

    monkeypatch.setattr(files, "open", opened, raising=False)
    with pytest.raises(OSError, match="No space left"):
        audio.write(tmp_path / "a.wav", np.zeros(100), 16000)
    assert not list(tmp_path.iterdir())


def test_real_recordings(data_dir):
    an4 = sorted((data_dir / "an4/wav/an4_clstk/fash").glob("*.flac"))[0]
    clip = sorted((data_dir / "LibriSpeech/dev-clean-5").glob("*/*/*.ogg"))[0]
    for path in (an4, clip):
        info = audio.probe(path)
        signal, rate = audio.read(path)
        assert (rate, len(signal)) == (info.sample_rate, info.num_samples) and rate == 16000
        assert 0.001 < np.sqrt(np.mean(signal**2)) < 0.5
