"""The page of the demo: what was trained, how good it is, and what went wrong, whole in one HTML file."""

import base64
import html
import io
import string
from pathlib import Path

from pipelines import spoken_numbers
from speechrnn import audio, manifest, plots

TEMPLATE = Path(__file__).with_name("demo.html")
WORST = 6


def render(model, run, report, examples, rows, data) -> str:
    """The page, whole in one string."""
    training = manifest.read(data / "train.jsonl")
    by_id = {example.id: example for example in examples}
    right = [utterance for utterance in report.utterances if not utterance.words.errors] or report.utterances
    shown = by_id[max(right, key=lambda utterance: len(utterance.reference)).id]
    low, high = report.interval
    minutes, seconds = divmod(round(run.seconds), 60)
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        network=f"{spoken_numbers.LAYERS} bidirectional GRU layers of {spoken_numbers.UNITS} units",
        train_count=f"{len(training):,}",
        train_voices=len({example.subject for example in training}),
        test_voices=len(report.speakers),
        seconds=f"{minutes} min {seconds} s",
        wer=f"{100 * report.wer:.1f} %",
        interval=f"{100 * low:.1f} to {100 * high:.1f} %",
        cer=f"{100 * report.cer:.1f} %",
        right=sum(not utterance.words.errors for utterance in report.utterances),
        total=len(report.utterances),
        history=svg(plots.plot_history(run.history)),
        spectrogram=svg(spectrogram(model, shown)),
        worst="\n".join(utterance_card(u, by_id[u.id]) for u in report.worst(WORST)) or "<p>There is none.</p>",
        voices="\n".join(voice_row(name, edits) for name, edits in by_errors(report.speakers)),
        transcripts="\n".join("<tr><td>" + "<td>".join(html.escape(text) for text in row) + "</tr>" for row in rows),
    )


def spectrogram(model, example):
    """Figure of one utterance's features with the network's output over them."""
    signal, _ = audio.read(
        example.path, sample_rate=model.sample_rate, offset=example.offset, duration=example.duration
    )
    return plots.plot_ctc(
        model.features(signal[None]).numpy()[0],
        model.logits([signal])[0],
        model.vocabulary,
        feature_period=model.features.frame_period,
        frame_period=model.frame_period,
        title=f"{example.text}, by {example.subject}",
    )


def svg(figure) -> str:
    """A figure as an SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]


def utterance_card(utterance, example) -> str:
    """One utterance: its words, what became of each, and a player."""
    pairs = []
    for said, heard in utterance.words.pairs:
        kind = "pair" if said == heard else "pair wrong"
        pairs.append(
            f'<div class="{kind}"><b>{html.escape(said or "-")}</b><span>{html.escape(heard or "-")}</span></div>'
        )
    sound = base64.b64encode(Path(example.path).read_bytes()).decode()
    return (
        f'<div class="card utterance"><div><div class="pairs">{"".join(pairs)}</div>'
        f'<div class="soft">{html.escape(example.subject)}</div></div>'
        f'<audio controls preload="metadata" src="data:audio/ogg;base64,{sound}"></audio></div>'
    )


def by_errors(speakers):
    """(name, edits) of each voice, the worst first."""
    return sorted(speakers.items(), key=lambda item: (-item[1].rate, item[0]))


def voice_row(name, edits) -> str:
    """A row of the table of voices."""
    numbers = (edits.reference_length, edits.errors, f"{100 * edits.rate:.1f} %")
    return f"<tr><td>{html.escape(name)}" + "".join(f'<td class="n">{number}' for number in numbers) + "</tr>"
