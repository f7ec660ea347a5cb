"""Recognizers on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from speechrnn.faults import Fault
from speechrnn.models.commands import Command

if TYPE_CHECKING:
    from rich.console import Console

    from speechrnn.data.manifest import Example

_OPTIONS = "speechrnn.tasks.recognition.options"
_DECODING = ("speechrnn.decoding.options:decoder", "speechrnn.tasks.language.rescoring:decoder")


class RecognizerCommand(Command):
    """Transcribe recordings."""

    summary = "Transcribe recordings."
    epilog = """\
The text of a single file is printed alone. With several files each line is `path<TAB>text`, in the order given. With
--json each line is an object: path, text, duration, and words with start, end (seconds) and confidence.

Channels are mixed; --channel N takes one of them, and --each-channel writes a transcript of every one.

--format srt prints subtitles of one file; --format F ... --out-dir DIR writes DIR/NAME.F for every file and format:
txt, json, srt, vtt, tsv (subtitles as a table, milliseconds) and ctm (one word per line with times and confidence).

FILE may be `-`: audio from a pipe, as in `ffmpeg -i talk.mp4 -f wav - | speechrnn transcribe -`. Headerless samples
need --encoding.
"""
    source = ("FILE", "WAV, FLAC, Ogg, Opus, MP3 or SPHERE of any rate, a .jsonl manifest, or - for a pipe.")
    default_model = "english"
    accepts_stdin = can_augment = details = can_shard = accepts_manifests = True
    example_noun = "utterances"
    formats: ClassVar[Mapping[str, bool]] = {
        "txt": True,
        "json": True,
        "srt": False,
        "vtt": False,
        "tsv": False,
        "ctm": True,
    }
    run_options = (f"{_OPTIONS}:TranscriptionOptions", *_DECODING)
    write_options = (f"{_OPTIONS}:CueOptions",)
    shown_in: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "alternatives": ("json",),
        **dict.fromkeys(("line_characters", "cue_lines", "cue_seconds", "cue_gap", "cue_hold"), ("srt", "vtt", "tsv")),
    }
    trained_on = "texts"
    training_options = (f"{_OPTIONS}:RecognizerTraining",)
    network_options = (f"{_OPTIONS}:RecognizerNetwork",)
    finetune_options = (f"{_OPTIONS}:NewVocabulary",)
    feature_options = ("speechrnn.features.options:LogMelOptions",)
    evaluation_options = (f"{_OPTIONS}:RecognizerEvaluation", *_DECODING)

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether the line has a text."""
        return line.get("text") is not None

    def outcomes(
        self, model: Any, sources: Iterable[Any], *, path: str | None, progress: Any, on_progress: Any, **options: Any
    ) -> Iterator[Any]:
        """See `Command`; with several jobs, each process opens the model."""
        from dataclasses import fields

        from speechrnn.metrics.calibration import Calibration
        from speechrnn.tasks.recognition import attachments, transcription
        from speechrnn.tasks.recognition.options import TranscriptionOptions

        known = {one.name: options.pop(one.name) for one in fields(TranscriptionOptions) if one.name in options}
        TranscriptionOptions(**known)  # checks the values
        known.pop("each_channel", None)  # the sources are single channels
        jobs, calibration = known.pop("jobs", None), known.pop("calibration", None)
        engine, address = known.pop("engine", "local"), known.pop("address", None)
        # With several jobs, too, so that wrong options are refused before any job starts.
        decoder = attachments.decoder(model, **options)
        transcription.check_alternatives(known.get("alternatives", 0), decoder, model)
        loaded_calibration = None if calibration is None else Calibration.read(calibration)
        if engine == "ray" or (jobs or 1) > 1:
            sources = list(sources)
            if any(hasattr(source, "read") for source in sources):
                raise ValueError("`-` cannot be shared by several --jobs.")
            shared = {"jobs": jobs, "decoding": options, "calibration": calibration}
            if engine == "ray":
                from speechrnn.tasks.recognition import cluster

                return _stdout_free(
                    cluster.recognize(path, sources, address=address, progress=progress, **shared, **known)
                )
            from speechrnn.tasks.recognition import parallel

            return parallel.recognize(path, sources, progress=progress, **shared, **known)
        shared = {
            "decoder": decoder,
            "calibration": loaded_calibration,
            "progress": progress,
            "on_progress": on_progress,
        }
        return transcription.outcomes(model, sources, **shared, **known)

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; with `each_channel` each channel of a source becomes a source."""
        named = super().expand_sources(sources)
        if not options.get("each_channel"):
            return named
        from speechrnn.tasks.recognition.transcription import by_channel

        expanded = []
        for source, name in named:
            for one in by_channel([source], encoding=options.get("encoding")):
                expanded.append((one, name if isinstance(one, str) else f"{name}.channel{getattr(one, 'channel', 0)}"))
        return expanded

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str:
        """See `Command`."""
        from speechrnn.tasks.recognition import formats
        from speechrnn.tasks.recognition.options import CueOptions

        if format == "txt" and name:
            channel = "" if answer.channel is None else f"\t{answer.channel}"
            return f"{os.fspath(answer.path)}{channel}\t{answer.text}\n"
        recording = name and name.removesuffix(f".channel{answer.channel}")
        return formats.render(answer, format, CueOptions(**options), name=recording)

    def new_model(self, examples: Sequence[Example], options: Any, **built: Any) -> Any:
        """See `Command`; with a lexicon the model writes phones."""
        if options.lexicon is not None:
            from speechrnn.text import lexicons

            if built.get("subwords") is not None:
                raise ValueError("--lexicon: a model writes phones or subwords. Received both; leave one out.")
            built["vocabulary"] = lexicons.load(options.lexicon).vocabulary()
        return super().new_model(examples, options, **built)

    def model_to_finetune(self, path: str, examples: Sequence[Example], **options: Any) -> Any:
        """See `Command`; the vocabulary can be replaced."""
        from speechrnn.tasks.recognition.building import vocabulary_of

        model = super().model_to_finetune(path, examples)
        if not options.pop("new_vocabulary", False):
            if options:
                raise ValueError("--subwords: the model has its own vocabulary. Give --new-vocabulary, too.")
            return model
        return model.with_vocabulary(vocabulary_of(examples, **options))

    def evaluate(self, model: Any, examples: Sequence[Example], **options: Any) -> Any:
        """See `Command`."""
        from dataclasses import fields

        from speechrnn.tasks.recognition import attachments, evaluation
        from speechrnn.tasks.recognition.options import RecognizerEvaluation

        known = ("faults", "progress", *(one.name for one in fields(RecognizerEvaluation)))
        known_options = {name: options.pop(name) for name in known if name in options}
        return evaluation.evaluate(model, examples, decoder=attachments.decoder(model, **options), **known_options)

    def records(self, report: Any) -> Any:
        """See `Command`; alignments and counts are computed again from the texts."""
        return [[u.id, u.reference, u.hypothesis, u.subject, u.seconds, u.confidences] for u in report.utterances]

    def report_of(self, records: Sequence[Any], *, faults: Sequence[Fault], elapsed: float, **options: Any) -> Any:
        """See `Command`."""
        from speechrnn.metrics.errors import error_report, score

        scored = [
            score(reference, hypothesis, id=id, subject=subject, seconds=seconds, confidences=confidences)
            for part in records
            for id, reference, hypothesis, subject, seconds, confidences in part
        ]
        return error_report(scored, faults=faults, elapsed=elapsed, seed=options.get("seed", 0))

    def print_report(self, report: Any, console: Console, examples: Sequence[Example], *, per_subject: bool) -> None:
        """See `Command`."""
        from speechrnn.tasks.recognition import evaluation

        evaluation.print_report(report, console, per_speaker=per_subject)


def _stdout_free(outcomes: Iterator[Any]) -> Iterator[Any]:
    """Yield the outcomes, with standard output redirected to standard error: Ray prints messages about its workers."""
    import contextlib
    import sys

    with contextlib.redirect_stdout(sys.stderr):
        yield from outcomes
