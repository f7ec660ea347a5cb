"""Damaged audio files of every container: read whole, as libsndfile reads them or more, or refused by name.

`python -m tests.campaigns.audio --count 10000 --seed 0` tries them; a finding is printed with the words that make its
file again. What is read is compared with what libsndfile alone gives, and with what the file held before: a file that
was cut off or lost a block must not come back as a short recording. Of headerless samples, and of MP3 that has lost its
Xing header with its beginning, nothing says how long they were, nor of a second WAV whose header is lost.
"""

import io
import sys
from pathlib import Path

import numpy as np
import soundfile

from speechrnn import audio
from tests.campaigns.harness import WrongError, damage, main

KINDS = {
    "wav": ("WAV", "PCM_16"), "wav-float": ("WAV", "FLOAT"), "wavex": ("WAVEX", "PCM_24"), "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"), "w64": ("W64", "PCM_16"), "caf": ("CAF", "PCM_16"),
    "sph": ("NIST", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "mp3-joined": ("MP3", "MPEG_LAYER_III"), "ogg-joined": ("OGG", "VORBIS"),
    "wav-joined": ("WAV", "PCM_16"), "wav-id3": ("WAV", "PCM_16"), "raw": ("RAW", "PCM_16"),
}  # fmt: skip
"""Container and coding of each kind of file."""
RATE = 16000
_LOSES = {"cut off", "a block lost"}
_TAG = b"ID3\3\0\0" + bytes([0, 0, 2, 0]) + bytes(256)


def attempt(kind: str, seed: int, folder: Path) -> None:
    """Make a file of a kind, damage it, read it, and compare.

    Raises:
        WrongError: Less was read than is there, or something else.
        ValueError, OSError: It was refused.
    """
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    whole, samples = _made(rng, kind)
    data, how = damage(rng, whole)
    path = folder / f"a.{kind.partition('-')[0]}"
    path.write_bytes(data)
    encoding = "s16le@16000" if kind == "raw" else None
    info = audio.probe(path, encoding=encoding)
    channels = [audio.read(path, channel=channel, encoding=encoding)[0] for channel in range(min(2, info.channels))]
    count = len(channels[0])
    if count != info.num_samples and info.format.split()[0] != "MP3":
        raise WrongError(f"{count:,} samples read, {info.num_samples:,} promised ({how})")
    headless = kind == "raw" or (kind.startswith("mp3") and not any(mark in data[:600] for mark in (b"Xing", b"Info")))
    headless |= kind == "wav-joined" and data[8 + int.from_bytes(data[4:8], "little") :][:4] != b"RIFF"
    if how in _LOSES and not headless and info.sample_rate == RATE and count < 0.75 * samples:
        raise WrongError(f"{count:,} of {samples:,} samples are left, and nothing said so ({how})")
    if kind == "raw" or kind.endswith("-id3"):
        return
    try:
        plain, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, ValueError, RuntimeError, TypeError):
        return
    if info.format.startswith("MP3") and rate != info.sample_rate:
        return  # libsndfile took bytes before the first frame for one
    if rate != info.sample_rate or plain.shape[1] != info.channels:
        raise WrongError(
            f"{info.channels} channels at {info.sample_rate} Hz, and not {plain.shape[1]} at {rate} ({how})"
        )
    slack = 4608 if info.format.startswith("MP3") else 0  # two recordings, two frames each that are only padding
    # Where bytes were put in, the header's length may end before libsndfile stops; nothing that was recorded is lost.
    if count < min(len(plain) - slack, samples):
        raise WrongError(f"{count:,} samples, and libsndfile reads {len(plain):,} ({how})")
    if not info.format.startswith(("MP3", "OGG")):  # whose decoders start anew where a part begins
        for channel, found in enumerate(channels):
            if not np.array_equal(found[: len(plain)], plain[:count, channel], equal_nan=True):
                raise WrongError(f"channel {channel} is not what libsndfile reads ({how})")


def _made(rng: np.random.Generator, kind: str) -> tuple[bytes, int]:
    """A whole file, and the samples of each channel."""
    parts = 2 if kind.endswith("-joined") else 1
    channels, samples, made = int(rng.integers(1, 3)), 0, b""
    for _ in range(parts):
        count = int(rng.integers(2000, 24000))
        signal = 0.2 * np.cumsum(rng.standard_normal((count, channels)), axis=0) / np.sqrt(count)
        container, coding = KINDS[kind]
        out = io.BytesIO()
        soundfile.write(out, np.clip(signal, -1, 1), RATE, format=container, subtype=coding)
        made, samples = made + out.getvalue(), samples + count
    return (_TAG if kind.endswith("-id3") else b"") + made, samples * (channels if kind == "raw" else 1)


if __name__ == "__main__":
    sys.exit(main("tests.campaigns.audio", list(KINDS), __doc__ or ""))
