"""Look over a manifest before training on it: every recording is decoded, every transcript checked against it."""

import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from speechrnn import audio, data, signals
from speechrnn.data.manifest import Example
from speechrnn.data.options import FrameOptions
from speechrnn.faults import Fault, Faults, kind_of, options_as_keywords
from speechrnn.text import Vocabulary

SILENCE = 1e-4
"""Peak below which a recording is silent: three steps of 16-bit audio."""
_WAITING = 1000
"""Examples that are handed to the threads at once: a million at once would take 2 GB."""
_TOLERANCE = 0.05
"""Seconds by which a manifest's duration may differ from the recording's."""


@dataclass(frozen=True)
class ManifestReport:
    """What `check` found."""

    examples: int
    """Examples listed, unreadable lines counted."""
    hours: float
    """Hours that the manifest claims."""
    usable: int
    """Examples with nothing wrong."""
    usable_hours: float
    """Hours of those."""
    subjects: int
    """Speakers or patients named."""
    classes: dict[str, int]
    """Examples, or stretches and frames of them, of each class, the most frequent first."""
    characters: dict[str, int]
    """How often each character occurs in the transcripts, the most frequent first."""
    counts: dict[str, int]
    """Number of faults of each kind."""
    faults: tuple[Fault, ...]
    """Every fault: utterance or `file:line`, kind, message."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        head = (
            f"{self.examples:,} examples, {self.hours:.2f} h, {self.subjects:,} subjects; "
            f"{self.usable:,} usable, {self.usable_hours:.2f} h."
        )
        kinds = [f"{count:,} {kind}" for kind, count in self.counts.items()]
        return "\n".join([head, *kinds])


@options_as_keywords(FrameOptions)
def check(  # noqa: D417 - `takes` adds the options
    examples: Iterable[Example],
    *,
    options: FrameOptions,
    vocabulary: Vocabulary | None = None,
    frame_count: Callable[[int], int] | None = None,
    faults: Faults | None = None,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> ManifestReport:
    """Decode every recording and hold every transcript against it.

    Kinds of fault: missing, empty, undecodable, truncated, not finite, silent, a flat line, with gaps, without values,
    lacking the channel, shorter than their segment, of another duration, annotated past their end, without a
    transcript, outside the vocabulary, too short for their text, duplicate.

    Args:
        examples: From `manifest.read`.
        vocabulary: Characters the recognizer can write; not looked at if `None`.
        frame_count: Frames of features for a number of samples; those of `window` and `hop` by default.
        faults: Those of reading the manifest, to be part of the report.
        workers: Threads; by default one per core.
        progress: Called with the number of examples done since the last call.

    Returns:
        The report.
    """
    examples = list(examples)
    unread = len(faults) if faults is not None else 0
    paths = Counter(example.path for example in examples)
    frames_of = frame_count or options.frame_count

    def look(example: Example) -> list[Fault]:
        try:
            seconds, peak, complaints = _listen(example, segment=paths[example.path] > 1)
        except (ValueError, OSError) as error:
            return [Fault(example.id, kind_of(error), str(error))]
        found = [Fault(example.id, kind, f"{example.path}: {message}") for kind, message in complaints]
        found += [*_sound(example, seconds, peak), *_classes(example)]
        if example.text is not None:
            samples = round(min(example.duration, seconds) * options.sample_rate)
            frames = -(-frames_of(samples) // options.stride)
            found += _transcript(example, frames, vocabulary, longer=options.longer_texts)
        return found

    ids: set[str] = set()
    found = list(faults) if faults is not None else []
    usable, usable_seconds = 0, 0.0
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for example, wrong in zip(examples, _in_turn(pool, look, examples), strict=True):
            if example.id in ids:
                wrong = [*wrong, Fault(example.id, "duplicate", f"{example.id}: is the id of an earlier example.")]
            ids.add(example.id)
            found += wrong
            if not wrong:
                usable += 1
                usable_seconds += example.duration
            if progress is not None:
                progress(1)
    return ManifestReport(
        examples=len(examples) + unread,
        hours=sum(example.duration for example in examples) / 3600,
        usable=usable,
        usable_hours=usable_seconds / 3600,
        subjects=len({example.subject for example in examples if example.subject is not None}),
        classes=dict(Counter(itertools.chain.from_iterable(map(_labels, examples))).most_common()),
        characters=dict(Counter(itertools.chain.from_iterable(e.text or "" for e in examples)).most_common()),
        counts=dict(Counter(fault.kind for fault in found).most_common()),
        faults=tuple(found),
    )


def _in_turn(
    pool: ThreadPoolExecutor, look: Callable[[Example], list[Fault]], examples: Iterable[Example]
) -> Iterator[list[Fault]]:
    """`pool.map`, which takes few examples at a time."""
    waiting: deque[Future[list[Fault]]] = deque()
    for example in examples:
        waiting.append(pool.submit(look, example))
        if len(waiting) >= _WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _listen(example: Example, *, segment: bool) -> tuple[float, float, tuple[tuple[str, str], ...]]:
    """Seconds, peak and complaints of a recording; audio is decoded in bounded memory."""
    if signals.is_signal(example.path):
        signal, rate = data.read_example(example)
        return len(signal) / rate, float(abs(signal).max()), tuple(signals.complaints(signal))
    info = audio.probe(example.path, encoding=example.encoding)
    # A lone example that starts at 0 stands for the whole file, so the whole file has to be sound.
    duration = example.duration if segment or example.offset else None
    blocks = audio.read_blocks(
        example.path, offset=example.offset, duration=duration, channel=example.channel, encoding=example.encoding
    )
    count, peak = 0, 0.0
    for block in blocks:
        count += len(block)
        peak = max(peak, float(abs(block).max()))
    return count / info.sample_rate, peak, ()


def _labels(example: Example) -> list[str]:
    single = [] if example.label is None else [example.label]
    several = [entry[-1] if isinstance(entry, tuple) else entry for entry in example.labels or ()]
    return [str(label) for label in (*single, *several, *example.extra.get("tags", ()))]


def _sound(example: Example, seconds: float, peak: float) -> Iterable[Fault]:
    if peak < SILENCE and not signals.is_signal(example.path):
        yield Fault(example.id, "silent", f"{example.path}: is silent (its peak is {peak:.1g} of full scale).")
    if abs(seconds - example.duration) > _TOLERANCE:
        yield Fault(
            example.id,
            "of another duration",
            f"{example.path}: lasts {seconds:.3f} s. Received: duration={example.duration:.3f}. Prepare it again.",
        )


def _classes(example: Example) -> Iterable[Fault]:
    """Stretches with a class have to lie inside the example."""
    for entry in example.labels or ():
        if isinstance(entry, tuple) and not 0 <= entry[0] < entry[1] <= example.duration + _TOLERANCE:
            message = f"{example.id}: has a class from {entry[0]} to {entry[1]} s of {example.duration:.3f} s."
            yield Fault(example.id, "annotated past their end", message)


def _transcript(example: Example, frames: int, vocabulary: Vocabulary | None, *, longer: bool) -> Iterable[Fault]:
    text = example.text or ""
    if not text.strip():
        yield Fault(example.id, "without a transcript", f"{example.id}: its transcript has no characters.")
    lacking = sorted(vocabulary.missing(text)) if vocabulary is not None else []
    if lacking:
        what = "characters" if all(len(one) == 1 for one in lacking) else "words"
        yield Fault(
            example.id, "outside the vocabulary", f"{example.id}: has {what} outside the vocabulary: {lacking}."
        )
    from speechrnn.decoding.alignment import required_frames  # not above: a help text needs no NumPy

    symbols = [*text] if vocabulary is None or lacking else vocabulary.encode(text)
    needed = min(len(symbols), 1) if longer else required_frames(symbols)
    if frames < needed:
        yield Fault(
            example.id,
            "too short for their text",
            f"{example.id}: {frames} frames cannot hold {len(symbols)} symbols, which need {needed}. "
            "Check the transcript, or lower the network's stride.",
        )
