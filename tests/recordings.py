"""Files of sensor formats written byte by byte, so that what reads them is held against their specifications."""

import struct

import numpy as np

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


def write_edf(path, signals, rates, names, *, kind="", seconds=1):
    """EDF of int16 channels with a gain of 0.1 uV; `kind` is EDF+C or EDF+D."""
    count = len(signals[0]) // (rates[0] * seconds)
    columns = [
        [f"{name:16}" for name in names], [" " * 80] * len(names), [f"{'uV':8}"] * len(names),
        [f"{-3276.8:<8}"] * len(names), [f"{3276.7:<8}"] * len(names), [f"{-32768:<8}"] * len(names),
        [f"{32767:<8}"] * len(names), [" " * 80] * len(names), [f"{rate * seconds:<8}" for rate in rates],
        [" " * 32] * len(names),
    ]  # fmt: skip
    fixed = f"{'0':8}{'X X X X':80}{'Startdate X X X X':80}01.01.0000.00.00{256 * (1 + len(names)):<8}"
    header = f"{fixed:192}{kind:44}{count:<8}{seconds:<8}{len(names):<4}" + "".join(map("".join, columns))
    blocks = [
        np.asarray(signal[i * rate * seconds : (i + 1) * rate * seconds], "<i2").tobytes()
        for i in range(count)
        for signal, rate in zip(signals, rates, strict=True)
    ]
    path.write_bytes(header.encode("ascii") + b"".join(blocks))
    return path
