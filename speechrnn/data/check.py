"""Checks a manifest before training: decodes every recording, and compares it with its transcript."""

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
_MAX_PENDING = 1000
"""Examples queued for the threads at once: a million would take 2 GB."""
_TOLERANCE = 0.05
"""Seconds by which a manifest's duration may differ from the recording's."""


@dataclass(frozen=True)
class ManifestReport:
    """Result of `check`."""

    examples: int
    """Examples listed, including unreadable lines."""
    hours: float
    """Hours according to the manifest."""
    usable: int
    """Examples without faults."""
    usable_hours: float
    """Hours of the usable examples."""
    subjects: int
    """Number of different subjects: speakers or patients."""
    classes: dict[str, int]
    """Number of examples, stretches or frames of each class, the most frequent first."""
    characters: dict[str, int]
    """Number of occurrences of each character in the transcripts, the most frequent first."""
    counts: dict[str, int]
    """Number of faults of each kind."""
    faults: tuple[Fault, ...]
    """Every fault: utterance or `file:line`, kind, message."""

    @property
    def ok(self) -> bool:
        """Whether there are no faults."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        head = (
            f"{self.examples:,} examples, {self.hours:.2f} h, {self.subjects:,} subjects; "
            f"{self.usable:,} usable, {self.usable_hours:.2f} h."
        )
        kinds = [f"{count:,} {kind}" for kind, count in self.counts.items()]
        return "\n".join([head, *kinds])


@options_as_keywords(FrameOptions)
def check(  # noqa: D417 - the decorator adds the options
    examples: Iterable[Example],
    *,
    options: FrameOptions,
    vocabulary: Vocabulary | None = None,
    frame_count: Callable[[int], int] | None = None,
    faults: Faults | None = None,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> ManifestReport:
    """Decode every recording and check it against its transcript and labels.

    Kinds of fault: missing, empty, undecodable, truncated, not finite, silent, a flat line, with gaps, without values,
    lacking the channel, shorter than their segment, of another duration, annotated past their end, without a
    transcript, outside the vocabulary, too short for their text, duplicate.

    Args:
        examples: From `manifest.read`.
        vocabulary: Vocabulary of the recognizer; texts are not checked against one if `None`.
        frame_count: Function from number of samples to number of feature frames; by default from `window` and `hop`.
        faults: Faults from reading the manifest, to include in the report.
        workers: Threads; by default one per core.
        progress: Called with the number of examples done since the last call.

    Returns:
        The report.
    """
    examples = list(examples)
    unread = len(faults) if faults is not None else 0
    paths = Counter(example.path for example in examples)
    frames_of = frame_count or options.frame_count

    def check_one(example: Example) -> list[Fault]:
        try:
            seconds, peak, complaints = _decode(example, segment=paths[example.path] > 1)
        except (ValueError, OSError) as error:
            return [Fault(example.id, kind_of(error), str(error))]
        faults_of_example = [Fault(example.id, kind, f"{example.path}: {message}") for kind, message in complaints]
        faults_of_example += [*_duration_faults(example, seconds, peak), *_label_faults(example)]
        if example.text is not None:
            samples = round(min(example.duration, seconds) * options.sample_rate)
            frames = -(-frames_of(samples) // options.stride)
            faults_of_example += _text_faults(example, frames, vocabulary, longer=options.longer_texts)
        return faults_of_example

    ids: set[str] = set()
    all_faults = list(faults) if faults is not None else []
    usable, usable_seconds = 0, 0.0
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for example, new_faults in zip(examples, _bounded_map(pool, check_one, examples), strict=True):
            if example.id in ids:
                message = f"{example.id}: is the id of an earlier example."
                new_faults = [*new_faults, Fault(example.id, "duplicate", message)]
            ids.add(example.id)
            all_faults += new_faults
            if not new_faults:
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
        counts=dict(Counter(fault.kind for fault in all_faults).most_common()),
        faults=tuple(all_faults),
    )


def _bounded_map(
    pool: ThreadPoolExecutor, check_one: Callable[[Example], list[Fault]], examples: Iterable[Example]
) -> Iterator[list[Fault]]:
    """Like `pool.map`, with at most `_MAX_PENDING` examples in the queue."""
    pending: deque[Future[list[Fault]]] = deque()
    for example in examples:
        pending.append(pool.submit(check_one, example))
        if len(pending) >= _MAX_PENDING:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _decode(example: Example, *, segment: bool) -> tuple[float, float, tuple[tuple[str, str], ...]]:
    """Decode a recording in bounded memory; returns seconds, peak, and problems as (kind, message)."""
    if signals.is_signal(example.path):
        signal, rate = data.read_example(example)
        return len(signal) / rate, float(abs(signal).max()), tuple(signals.complaints(signal))
    info = audio.probe(example.path, encoding=example.encoding)
    # The only example of a file, if it starts at 0, means the whole file, which must be readable then.
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


def _duration_faults(example: Example, seconds: float, peak: float) -> Iterable[Fault]:
    if peak < SILENCE and not signals.is_signal(example.path):
        yield Fault(example.id, "silent", f"{example.path}: is silent (its peak is {peak:.1g} of full scale).")
    if abs(seconds - example.duration) > _TOLERANCE:
        yield Fault(
            example.id,
            "of another duration",
            f"{example.path}: lasts {seconds:.3f} s. Received: duration={example.duration:.3f}. Prepare it again.",
        )


def _label_faults(example: Example) -> Iterable[Fault]:
    """Labeled stretches must lie within the example."""
    for entry in example.labels or ():
        if isinstance(entry, tuple) and not 0 <= entry[0] < entry[1] <= example.duration + _TOLERANCE:
            message = f"{example.id}: has a class from {entry[0]} to {entry[1]} s of {example.duration:.3f} s."
            yield Fault(example.id, "annotated past their end", message)


def _text_faults(example: Example, frames: int, vocabulary: Vocabulary | None, *, longer: bool) -> Iterable[Fault]:
    text = example.text or ""
    if not text.strip():
        yield Fault(example.id, "without a transcript", f"{example.id}: its transcript has no characters.")
    missing = sorted(vocabulary.missing(text)) if vocabulary is not None else []
    if missing:
        unit = "characters" if all(len(one) == 1 for one in missing) else "words"
        yield Fault(
            example.id, "outside the vocabulary", f"{example.id}: has {unit} outside the vocabulary: {missing}."
        )
    from speechrnn.decoding.alignment import required_frames  # not at the top: --help must not import NumPy

    symbols = [*text] if vocabulary is None or missing else vocabulary.encode(text)
    needed = min(len(symbols), 1) if longer else required_frames(symbols)
    if frames < needed:
        yield Fault(
            example.id,
            "too short for their text",
            f"{example.id}: {frames} frames cannot hold {len(symbols)} symbols, which need {needed}. "
            "Check the transcript, or lower the network's stride.",
        )
