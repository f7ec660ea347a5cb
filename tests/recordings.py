"""Files of sensor formats written byte by byte, so that what reads them is checked against their specifications."""

import itertools
import struct

import numpy as np
import soundfile

CODES = {"N": 1, "L": 2, "R": 3, "a": 4, "V": 5, "F": 6, "A": 8, "/": 12, "Q": 13, "+": 28, "!": 31}
"""Codes of annotations (ecgcodes.h)."""


def format_212(samples):
    """Two samples of 12 bits in three bytes, channels interleaved (signal(5))."""
    words = np.asarray(samples).ravel()
    words = np.append(words, 0) if len(words) % 2 else words
    first, second = words[::2] & 0xFFF, words[1::2] & 0xFFF
    return np.stack([first & 0xFF, first >> 8 | second >> 8 << 4, second & 0xFF], axis=1).astype(np.uint8).tobytes()


def write_wfdb(path, adc, *, rate=360, names=("MLII", "V1"), gain=200, baseline=1024, marks=None):
    """A record in format 212, its annotations `(sample, symbol)` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{path.name} {len(names)} {rate} {len(adc)}"]
    lines += [f"{path.name}.dat 212 {gain}({baseline})/mV 11 1024 0 0 0 {name}" for name in names]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    path.with_suffix(".dat").write_bytes(format_212(adc))
    if marks is not None:
        words, last = [], 0
        for sample, symbol in marks:
            gap, last = sample - last, sample
            if gap > 1023:  # SKIP, and the interval as two words, the high one first
                words += [59 << 10, gap >> 16, gap & 0xFFFF]
                gap = 0
            words.append(CODES[symbol] << 10 | gap)
        path.with_suffix(".atr").write_bytes(struct.pack(f"<{len(words) + 1}H", *words, 0))
    return path.with_suffix(".hea")


def write_edf(path, signals, rates, names, *, kind="", seconds=1, onsets=None):
    """EDF with a gain of 0.1 uV, or BDF with 1 uV, of whole numbers; `kind` is EDF+C, EDF+D or BDF+D.

    `onsets`, text such as "+0.5" for each block, stand in a channel of annotations behind the first channel.
    """
    wide, gain = (3, 1) if kind.startswith("BDF") else (2, 0.1)
    most, count = 256**wide // 2, len(signals[0]) // (rates[0] * seconds)
    channels = []  # label, unit, samples in a block, its blocks
    for name, signal, size in zip(names, signals, [rate * seconds for rate in rates], strict=True):
        words = np.asarray(signal[: count * size], "<i4").view(np.uint8).reshape(count, size, 4)
        channels.append((name, "uV", size, [block.tobytes() for block in words[..., :wide]]))
    if onsets is not None:
        lists = [f"{onset}\x14\x14\0{onset}\x141\x14a note\x14\0".encode() for onset in onsets]
        channels.insert(1, (f"{kind[:3]} Annotations", "", 20, [tal.ljust(20 * wide, b"\0") for tal in lists]))
    names, units, sizes, blocks = zip(*channels, strict=True)
    columns = [
        [f"{name:16}" for name in names], [" " * 80] * len(names), [f"{unit:8}" for unit in units],
        [f"{-gain * most:<8.8g}"] * len(names), [f"{gain * (most - 1):<8.8g}"] * len(names),
        [f"{-most:<8}"] * len(names), [f"{most - 1:<8}"] * len(names), [" " * 80] * len(names),
        [f"{size:<8}" for size in sizes], [" " * 32] * len(names),
    ]  # fmt: skip
    first = b"\xffBIOSEMI" if wide == 3 else f"{'0':8}".encode()
    fixed = f"{'X X X X':80}{'Startdate X X X X':80}01.01.0000.00.00{256 * (1 + len(names)):<8}{kind:44}"
    header = f"{fixed}{count:<8}{seconds:<8}{len(names):<4}" + "".join(map("".join, columns))
    path.write_bytes(first + header.encode("ascii") + b"".join(itertools.chain(*zip(*blocks, strict=True))))
    return path


def write_hypnogram(path, events):
    """EDF+ without a signal, whose one block has an annotation for each `(start, seconds, text)`."""
    lists = b"+0\x14\x14\0" + b"".join(f"+{a}\x15{b}\x14{text}\x14\0".encode() for a, b, text in events)
    size = -(-len(lists) // 2)
    cells = [("EDF Annotations", 16), ("", 80), ("", 8), (-1, 8), (1, 8), (-32768, 8), (32767, 8), ("", 80), (size, 8)]
    fixed = f"{'0':8}{'X X X X':80}{'Startdate X X X X':80}01.01.0000.00.00{512:<8}{'EDF+C':44}{1:<8}{1:<8}{1:<4}"
    header = fixed + "".join(f"{cell:<{width}}" for cell, width in cells) + " " * 32
    path.write_bytes(header.encode("ascii") + lists.ljust(2 * size, b"\0"))
    return path


def write_an4(root, *, text="RUBOUT ++NOISE++ G M", seconds=0.1, utterances=3):
    """AN4's tree in small: ten training speakers and two test speakers, transcripts in both published notations."""
    (root / "etc").mkdir(parents=True)
    tone = np.resize(0.1 * np.sin(np.arange(1600)), round(seconds * 16000))
    for split, speakers, line in (("train", 10, "<s> {} </s> ({})\n"), ("test", 2, "{} ({})\n")):
        folder = "an4_clstk" if split == "train" else "an4test_clstk"
        names = [(f"s{split}{s}", f"an{i}-s{split}{s}-b") for s in range(speakers) for i in range(utterances)]
        (root / f"etc/an4_{split}.fileids").write_text("".join(f"{folder}/{s}/{name}\n" for s, name in names))
        lines = "".join(line.format(text, name) for _, name in names)
        (root / f"etc/an4_{split}.transcription").write_text(lines)
        for speaker, name in names:
            path = root / "wav" / folder / speaker / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone, 16000)
    return root


def thinned(prepare, every=10):
    """A corpus of which only every tenth example, or so, is kept."""

    def few(*arguments, **options):
        return {name: found[::every] for name, found in prepare(*arguments, **options).items()}

    return few
