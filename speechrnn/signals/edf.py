"""EDF, EDF+ and BDF: EEG and sleep recordings, each channel at its own rate.

Read here and not by pyedflib, which refuses files with sound samples for an accent in the patient's name, a micro sign
in a unit, a date that is no date, zeros in place of spaces or a recording that was not closed, refuses all with
interruptions (EDF+D, BDF+D), and prints what is wrong to standard output. The tests read the same files with both.

Each block of an EDF+D file begins its channel of annotations with the time at which it was taken (EDF+ specification,
Kemp and Olivan 2003, section 2.2.4). The blocks are put where these times say; between them there is nothing.
"""

import datetime as dt
import os
import re
from dataclasses import dataclass

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, cached

_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("low", 8),
    ("high", 8),
    ("digital low", 8),
    ("digital high", 8),
    ("filter", 80),
    ("count", 8),
    ("reserved", 32),
)
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14\x14")
_EVENT = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\0]*)\x14(?:\0|\Z)")
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_OTHERS = "choose other channels (`channels`)"
_ADVICE = "Export it as EDF+C, or each stretch as a file of its own."
_SPREAD, _SPARE = 20, 10_000_000
"""How far samples may lie apart to be read at once: so many times their number, and so many more."""
_AT_ONCE = 2**24
"""Bytes that are read at once."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    kind: str
    """"EDF+C", "EDF+D" and so on; nothing for plain EDF and BDF."""
    size: int
    """Bytes of the header."""
    blocks: int
    """Number of blocks of samples."""
    seconds: float
    """Length of a block; 0 in a file of annotations alone."""
    wide: int
    """Bytes of a sample: 2 in an EDF, 3 in a BDF."""
    fields: dict[str, list[str]]
    """The header's fields: a value for each channel, annotations included."""
    counts: list[int]
    """Samples of each channel in a block."""
    start: dt.datetime | None
    """When the recording began, if that is a date."""

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""
        return self.wide * sum(self.counts)


@dataclass(frozen=True)
class _Blocks:
    """A file before its samples are read."""

    header: Header
    channels: tuple[int, ...]
    """Which of the header's channels are signals."""
    onsets: np.ndarray | None
    """float64 `(blocks,)`: seconds from the first block to each; `None` where one follows the other."""

    def positions(self, channel: int) -> np.ndarray:
        """int64 `(blocks,)`: where each block's first sample lies on the channel's time line."""
        count = self.header.counts[channel]
        if self.onsets is None:
            return np.arange(self.header.blocks) * count
        return np.rint(self.onsets * (count / self.header.seconds)).astype(np.int64)


@dataclass(frozen=True)
class Event:
    """An annotation of an EDF+ file."""

    start: float
    """Seconds from the file's first sample."""
    seconds: float
    """How long it lasts; 0 where the file does not say it."""
    text: str


def events(path: str | os.PathLike[str]) -> tuple[Event, ...]:
    """The annotations of an EDF+ or BDF+ file, such as the stages of a hypnogram, by their starts.

    The file may have no signals.

    Raises:
        ValueError: It is no such file, damaged, or has no channel of annotations.

    Reference:
        Kemp and Olivan, "European data format 'plus' (EDF+)", Clinical Neurophysiology 114, 2003, section 2.2.
    """
    path = os.fspath(path)
    head = header(path)
    marked = [i for i, label in enumerate(head.fields["label"]) if label in _ANNOTATIONS]
    if not marked:
        raise data_error(path, "without labels", "has no channel of annotations. Give the file that holds them.")
    annotations, first_onset = [], _first_onset(path, head, marked[0])
    for channel in marked:
        for block in _bytes(path, head, channel, 0, head.blocks):
            for start, seconds, texts in _EVENT.findall(block.tobytes()):
                about = float(start) - first_onset, float(seconds or 0)
                annotations += [Event(*about, _text(text)) for text in texts.split(b"\x14") if text]
    return tuple(sorted(annotations, key=lambda event: event.start))


def record(path: str, row: int | str | None = None, options: TableOptions | None = None) -> Record:
    """The record of a file: one time line, with NaN where nothing was recorded; `row` has no meaning here.

    Raises:
        ValueError: It is no such file, or damaged; blocks of an EDF+D do not say when they were taken, or overlap.
    """
    blocks = _blocks(path)
    head, signals = blocks.header, blocks.channels
    faults = tuple(_scale(head, i)[2] for i in signals)
    return Record(
        path=path,
        channels=tuple(head.fields["label"][i] or str(index) for index, i in enumerate(signals)),
        units=tuple(head.fields["unit"][i] for i in signals),
        rates=tuple(head.counts[i] / head.seconds for i in signals),
        sizes=tuple(int(blocks.positions(i)[-1]) + head.counts[i] for i in signals),
        load=lambda channel, start, stop: _load(path, signals[channel], start, stop),
        faults=faults,
        start=head.start,
    )


def header(path: str) -> Header:
    """Read the header of an EDF or BDF file; what reading samples does not need may hold anything.

    Raises:
        ValueError: It is none, or the file has more or fewer bytes than the header says.
    """
    with open(path, "rb") as file:
        fixed = file.read(256)
        if not fixed.lstrip(b" \0").startswith((b"\xffBIOSEMI", b"0")):
            raise data_error(path, "undecodable", "is no EDF or BDF that can be read: it does not begin like one.")
        channels = _whole(path, fixed[252:256], "number of channels", least=1)
        about = file.read(256 * channels)
    if len(about) < 256 * channels:
        raise data_error(path, "truncated", "ends within its header. Copy or download it again.")
    fields, start = {}, 0
    for name, width in _FIELDS:
        cells = [about[start + i * width : start + (i + 1) * width] for i in range(channels)]
        fields[name] = [_text(cell) for cell in cells]
        start += width * channels
    size = _whole(path, fixed[184:192], "size of the header")
    if size != 256 * (1 + channels):
        message = f"says that its header has {size:,} bytes. {channels} channels make {256 * (1 + channels):,}."
        raise data_error(path, "undecodable", message)
    parsed = Header(
        kind=_kind(path, fixed),
        size=size,
        blocks=_whole(path, fixed[236:244], "number of blocks", least=-1),
        seconds=_number(path, fixed[244:252], "length of a block"),
        wide=3 if fixed[:1] == b"\xff" else 2,
        fields=fields,
        counts=[_whole(path, count.encode(), "number of samples", least=0) for count in fields["count"]],
        start=_start(fixed),
    )
    return _of_right_size(path, parsed)


def _text(cell: bytes) -> str:
    """A field: ASCII by the specification, UTF-8 or Latin-1 in fact; zeros stand for spaces."""
    try:
        return cell.replace(b"\0", b" ").decode("utf-8").strip()
    except UnicodeDecodeError:
        return cell.replace(b"\0", b" ").decode("latin-1").strip()


def _whole(path: str, cell: bytes, what: str, *, least: int | None = None) -> int:
    text = _text(cell)
    if not _WHOLE.fullmatch(text) or (least is not None and int(text) < least):
        raise data_error(path, "undecodable", f"is no EDF or BDF that can be read: its {what} is {text!r}.")
    return int(text)


def _number(path: str, cell: bytes, what: str) -> float:
    value = _float(_text(cell))
    if value is None or value < 0:
        message = f"is no EDF or BDF that can be read: its {what} is {_text(cell)!r}, which must be zero or more."
        raise data_error(path, "undecodable", message)
    return value


def _float(text: str) -> float | None:
    """A number; the decimal comma that some programs write can mean nothing else here."""
    text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def _kind(path: str, fixed: bytes) -> str:
    kind = _text(fixed[192:236])[:5]
    if kind[:4] in ("EDF+", "BDF+") and kind[4:] not in ("C", "D"):
        message = f"is {kind!r}, and must be EDF+C (without interruptions) or EDF+D (with them)."
        raise data_error(path, "undecodable", message)
    return kind if kind[:4] in ("EDF+", "BDF+") else ""


def _start(fixed: bytes) -> dt.datetime | None:
    """Date and time of the start; years from 85 on are of the last century."""
    match = re.fullmatch(r"(\d\d)\D(\d\d)\D(\d\d)(\d\d)\D(\d\d)\D(\d\d)", _text(fixed[168:176]) + _text(fixed[176:184]))
    if not match:
        return None
    day, month, year, hour, minute, second = map(int, match.groups())
    try:
        return dt.datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except ValueError:
        return None


def _of_right_size(path: str, head: Header) -> Header:
    """The header, its number of blocks counted where a recording was not closed (-1)."""
    actual = os.path.getsize(path)
    if not head.block_bytes:
        raise data_error(path, "empty", "has no samples in any channel. Leave it out, or record it again.")
    if head.blocks == -1:
        head = Header(**{**vars(head), "blocks": (actual - head.size) // head.block_bytes})
    if not head.blocks:
        raise data_error(path, "empty", "has no block of samples. Leave it out, or record it again.")
    expected = head.size + head.blocks * head.block_bytes
    if actual < expected:
        message = f"should have {expected:,} bytes, has {actual:,}. Copy or download it again."
        raise data_error(path, "truncated", message)
    if actual >= expected + head.block_bytes:
        message = f"should have {expected:,} bytes by its header, has {actual:,}: its header is damaged."
        raise data_error(path, "undecodable", message)
    return head


@cached(32)
def _blocks(path: str) -> _Blocks:
    head = header(path)
    marked = {i for i, label in enumerate(head.fields["label"]) if label in _ANNOTATIONS}
    if not marked and head.kind:  # its label may be damaged
        marked = {i for i in range(len(head.counts)) if _ONSET.match(_bytes(path, head, i, 0, 1)[0].tobytes())}
    signals = tuple(i for i in range(len(head.counts)) if i not in marked)
    if not signals:
        raise data_error(path, "empty", "has annotations and no signal.")
    if not head.seconds:
        raise data_error(path, "undecodable", "has signals in blocks of 0 s, which give no rate. Export it again.")
    onsets, start = None, 0.0
    if marked:
        start = _first_onset(path, head, min(marked))
    if marked and head.kind[4:] != "C":
        onsets = _onsets(path, head, min(marked))
    elif head.kind[4:] == "D":
        message = f"is {head.kind} without a channel `EDF Annotations` that says when each block begins. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    if head.start is not None:
        head = Header(**{**vars(head), "start": head.start + dt.timedelta(seconds=start)})
    return _Blocks(head, signals, None if onsets is None else onsets - onsets[0])


def _first_onset(path: str, head: Header, channel: int) -> float:
    """Seconds from the time in the header, which is in whole ones, to the first block; 0 where it does not say so."""
    mark = _ONSET.match(_bytes(path, head, channel, 0, 1)[0].tobytes())
    return float(mark[1]) if mark and abs(float(mark[1])) < 2**31 else 0.0


def _onsets(path: str, head: Header, channel: int) -> np.ndarray | None:
    """float64 `(blocks,)`: when each block was taken; `None` if it is plain EDF that does not say so."""
    marks = [_ONSET.match(row.tobytes()) for row in _bytes(path, head, channel, 0, head.blocks)]
    if not head.kind and not any(marks):
        return None
    onsets = np.array([float(mark[1]) if mark else np.nan for mark in marks])
    if np.isnan(onsets).any():
        number = int(np.argmax(np.isnan(onsets))) + 1
        message = f"is {head.kind or 'EDF'}, but its block {number:,} does not say when it begins. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    early = np.diff(onsets) < head.seconds - head.seconds / max(head.counts)  # times are rounded
    if early.any():
        number = int(np.argmax(early)) + 2
        message = f"is {head.kind or 'EDF'}, but its block {number:,} begins before the one ahead of it ends. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    if not onsets[-1] - onsets[0] < 2**31:
        raise data_error(path, "discontinuous", f"has blocks that lie {onsets[-1] - onsets[0]:g} s apart. {_ADVICE}")
    return onsets


def _bytes(path: str, head: Header, channel: int, first: int, last: int) -> np.ndarray:
    """What blocks `first` to `last` hold of a channel, uint8 `(blocks, bytes)`; other channels are not kept."""
    begin, wide = head.wide * sum(head.counts[:channel]), head.wide * head.counts[channel]
    made = np.empty((last - first, wide), np.uint8)
    step = max(1, _AT_ONCE // head.block_bytes)
    with open(path, "rb") as file:
        file.seek(head.size + first * head.block_bytes)
        for start in range(0, last - first, step):
            count = min(step, last - first - start)
            whole = np.frombuffer(file.read(count * head.block_bytes), np.uint8)
            if len(whole) < count * head.block_bytes:
                raise data_error(path, "truncated", "became shorter while it was read.")
            made[start : start + count] = whole.reshape(count, -1)[:, begin : begin + wide]
    return made


def _load(path: str, channel: int, start: int, stop: int) -> np.ndarray:
    blocks = _blocks(path)
    head, count, positions = blocks.header, blocks.header.counts[channel], blocks.positions(channel)
    first, last = np.searchsorted(positions, start - count, "right"), np.searchsorted(positions, stop, "left")
    if stop - start > _SPREAD * count * (last - first) + _SPARE:
        message = f"has {count * (last - first):,} samples in {stop - start:,} from {start:,} on. Read it in segments."
        raise data_error(path, "with gaps", message)
    values = _physical(head, channel, _bytes(path, head, channel, int(first), int(last)))
    if blocks.onsets is None:
        return values.ravel()[start - first * count : stop - first * count]
    signal = np.full(stop - start, np.nan, np.float32)
    for position, block in zip(positions[first:last].tolist(), values, strict=True):
        low, high = max(position, start), min(position + count, stop)
        signal[low - start : high - start] = block[low - position : high - position]
    return signal


def _scale(head: Header, channel: int) -> tuple[float, float, str]:
    """Gain and offset that make physical values, or what is wrong with them."""
    names = ("low", "high", "digital low", "digital high")
    texts = [head.fields[name][channel] for name in names]
    numbers = [_float(text) for text in texts]
    if not head.counts[channel]:
        return 0.0, 0.0, f"has no samples: {_OTHERS}"
    if any(number is None for number in numbers):
        return 0.0, 0.0, f"does not say its range: {', '.join(texts)}; {_OTHERS}"
    low, high, least, most = (float(number) for number in numbers if number is not None)
    if not most > least or high == low or not np.isfinite([low, high]).all():
        ranges = f"{low:g} to {high:g}, stored as {least:g} to {most:g}"
        return 0.0, 0.0, f"has the range {ranges}, by which nothing can be read: {_OTHERS}"
    gain = (high - low) / (most - least)
    return gain, low - gain * least, ""


def _physical(head: Header, channel: int, raw: np.ndarray) -> np.ndarray:
    """Little-endian whole numbers uint8 `(blocks, bytes)` as physical values, float32 `(blocks, samples)`."""
    gain, offset, _ = _scale(head, channel)
    values = np.empty((len(raw), raw.shape[1] // head.wide), np.float32)
    step = max(1, _AT_ONCE // max(1, raw.shape[1]))
    for start in range(0, len(raw), step):
        part = raw[start : start + step]
        if head.wide == 2:
            numbers = part.view("<i2")
        else:  # three bytes become the upper ones of four
            parts = np.zeros((*values[start : start + step].shape, 4), np.uint8)
            parts[..., 1:] = part.reshape(*parts.shape[:2], 3)
            numbers = parts.view("<i4")[..., 0] >> 8
        values[start : start + step] = offset + gain * numbers
    return values
