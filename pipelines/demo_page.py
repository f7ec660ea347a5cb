"""The page of the demo, one HTML file: training data, error rates, and errors."""

import string
from pathlib import Path

from pipelines import spoken_numbers
from speechrnn import report as reports
from speechrnn.data import manifest
from speechrnn.report import pieces

TEMPLATE = Path(__file__).with_name("demo.html")
WORST = 6


def render(model, run, report, searched, examples, rows, data) -> str:
    """Create the HTML page."""
    training = manifest.read(data / "train.jsonl")
    by_id = {example.id: example for example in examples}
    correct = [utterance for utterance in report.utterances if not utterance.words.errors] or report.utterances
    best = max(correct, key=lambda utterance: len(utterance.reference))
    minutes, seconds = divmod(round(run.seconds), 60)
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        style=pieces.STYLE,
        network=f"{spoken_numbers.LAYERS} bidirectional GRU layers of {spoken_numbers.UNITS} units",
        train_count=f"{len(training):,}",
        train_voices=len({example.subject for example in training}),
        test_voices=len(report.speakers),
        seconds=f"{minutes} min {seconds} s",
        wer=pieces.percent(report.wer),
        interval=pieces.interval(report.interval),
        cer=pieces.percent(report.cer),
        searched_wer=pieces.percent(searched.wer),
        searched_interval=pieces.interval(searched.interval),
        right=sum(not utterance.words.errors for utterance in report.utterances),
        total=len(report.utterances),
        history="".join(f'<div class="card chart">{chart}</div>' for chart in list(reports.history(run.history))[:2]),
        spectrogram=shown_clip(model, best, by_id[best.id]),
        worst=worst(report, by_id),
        voices=pieces.table(
            ("voice", "words", "errors", "WER"),
            [(name, edits.reference_length, edits.errors, edits.rate) for name, edits in by_errors(report.speakers)],
        ),
        transcripts=pieces.table(("said", "trained here", "with the package"), rows),
    )


def shown_clip(model, utterance, example) -> str:
    """One utterance with its spectrogram and the network's output."""
    clip = reports.clip_of(model, utterance, example)
    marks = [word.word in utterance.reference.split() for word in clip.words]
    sound = pieces.sound(clip.signal, clip.sample_rate)
    return pieces.utterance_card(utterance, sound, more=reports.drawn(clip, marks))


def worst(report, by_id) -> str:
    """Cards of the utterances with the most errors, with players."""
    cards = [
        pieces.utterance_card(u, pieces.data_uri(Path(by_id[u.id].path).read_bytes(), "audio/ogg"))
        for u in report.worst(WORST)
    ]
    return pieces.LEGEND + "".join(cards) if cards else "<p>There is none.</p>"


def by_errors(speakers):
    """(name, edits) of each voice, the worst first."""
    return sorted(speakers.items(), key=lambda item: (-item[1].rate, item[0]))
