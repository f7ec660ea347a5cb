"""The page that `make demo` writes, and the plots on it."""

import base64
import re
import types
from pathlib import Path

import numpy as np
import pytest

from pipelines import demo, demo_page, spoken_numbers
from speechrnn import Vocabulary
from speechrnn.data import manifest
from speechrnn.metrics.calibration import calibration_error, reliability
from speechrnn.report import plots
from speechrnn.tasks.recognition import evaluation as evaluate
from speechrnn.tasks.recognition.transcript import Word

HISTORY = (
    {"epoch": 1.0, "loss": 30.0},
    {"epoch": 2.0, "loss": 20.0, "val_loss": 18.0, "val_wer": 0.9},
    {"epoch": 3.0, "loss": 9.0, "val_loss": float("nan"), "val_wer": 0.5},
)


@pytest.fixture(scope="module")
def page():
    """A page about a model that has learned nothing, and the report it was made from."""
    examples = manifest.read(spoken_numbers.DATA / "test.jsonl")[:3]
    vocabulary = Vocabulary.from_texts(example.text for example in examples)
    model = spoken_numbers.build(vocabulary, units=8, layers=1)
    scored = [
        evaluate.score(e.text, heard, id=e.id, subject=e.subject)
        for e, heard in zip(examples, [examples[0].text, "<b>", ""], strict=True)
    ]
    report, searched = (evaluate.error_report(scored[:count]) for count in (3, 1))
    run = types.SimpleNamespace(history=HISTORY, seconds=101.0)
    rows = [("said & meant", "new", "shipped")]
    return demo_page.render(model, run, report, searched, examples, rows, spoken_numbers.DATA), report, examples


def test_page_needs_no_other_file(page):
    text, _, _ = page
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert text.count("<svg") == 3 and text.count("</svg>") == 3  # two of training, one of an utterance
    assert "$" not in re.sub("<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_page_says_the_error_rate_and_how_long_training_took(page):
    text, report, _ = page
    assert f"{100 * report.wer:.1f} %" in text
    assert "<b>0.0 %</b>with a trigram" in text
    assert "1 min 41 s" in text


def test_worst_utterances_can_be_heard(page):
    text, report, examples = page
    by_id = {example.id: example for example in examples}
    sounds = [base64.b64decode(sound) for sound in re.findall(r"base64,([^\"]+)", text)]
    sounds = [sound for sound in sounds if sound.startswith(b"OggS")][1:]  # the first is drawn too; the rest are PNG
    with_errors = [u for u in report.worst() if u.words.errors]
    assert len(with_errors) == 2
    assert sounds == [Path(by_id[u.id].path).read_bytes() for u in with_errors]


def test_texts_are_escaped(page):
    text, _, _ = page
    assert "said &amp; meant" in text and "&lt;b&gt;" in text


def test_comparison_puts_both_models_beside_what_was_said(monkeypatch):
    def said(text):
        return lambda examples: [types.SimpleNamespace(text=text) for _ in examples]

    monkeypatch.setattr(demo.speechrnn, "transcribe", said("package"))
    new = types.SimpleNamespace(transcribe=said("new"))
    assert demo.compare(new, [types.SimpleNamespace(text="said")]) == [("said", "new", "package")]


def test_history_shows_what_was_measured_and_leaves_gaps():
    losses, errors = plots.plot_history(HISTORY).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert lines == {"training": [[1, 30], [2, 20], [3, 9]], "validation": [[2, 18]]}
    assert errors.lines[0].get_xydata().tolist() == [[2, 0.9], [3, 0.5]]


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (("loss", "val_loss", "val_wer", "val_token_error_rate"), {"loss", "error rate"}),
        (("loss", "val_loss", "accuracy", "val_accuracy", "val_macro_f1"), {"loss", "accuracy", "macro f1"}),
        (("loss", "val_loss", "val_mae", "val_mse"), {"loss", "mae", "mse"}),
        (("loss", "val_loss", "val_perplexity"), {"loss", "perplexity"}),
    ],
    ids=["recognizer", "classifier", "forecaster", "language model"],
)
def test_curves_of_every_kind_are_called_what_they_are(columns, titles):
    history = [{"epoch": epoch, "seconds": 9.0, **dict.fromkeys(columns, 0.5 / epoch)} for epoch in (1.0, 2.0)]
    axes = plots.plot_history(history).axes
    assert {one.get_title() for one in axes} == titles == set(plots.measured_panels(history))
    drawn = {(one.get_title(), line.get_label()) for one in axes for line in one.lines}
    if "accuracy" in columns:
        assert {("accuracy", "training"), ("accuracy", "validation"), ("macro f1", "validation")} < drawn


def test_history_of_no_epoch_is_refused():
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.plot_history([])
    with pytest.raises(ValueError, match="a loss or an error rate. Received: epoch"):
        plots.plot_history([{"epoch": 1.0}])


def test_ctc_plot_spells_what_is_decoded_where_it_was_heard():
    vocabulary = Vocabulary(["a", "b", " "])
    logits = 9.0 * np.eye(4)[[0, 1, 1, 0, 3, 2]]
    figure = plots.plot_ctc(np.zeros((12, 5)), logits, vocabulary, feature_period=0.01, frame_period=0.02, title="ab")
    curves = figure.axes[1]
    assert [(text.get_text(), round(text.xy[0], 3)) for text in curves.texts] == [("a", 0.03), ("␣", 0.09), ("b", 0.11)]
    heights = [line.get_ydata()[1] for line in curves.lines if len(line.get_xdata()) == 6]
    assert max(heights) > 0.99


def test_words_stand_over_the_spectrogram_and_letters_on_their_peaks():
    vocabulary, logits = Vocabulary(["a", "b", " "]), 9.0 * np.eye(4)[[0, 1, 1, 0, 3, 2]]
    words = [Word("a", 0.02, 0.06, 0.9), Word("b", 0.10, 0.12, 0.9)]
    figure = plots.plot_words(np.ones(960), 8000, logits, words, vocabulary, frame_period=0.02, title="a b")
    above, below = figure.axes
    assert [(text.get_text(), round(text.xy[0], 3)) for text in above.texts] == [("a", 0.04), ("b", 0.11)]
    assert sorted(line.get_xdata()[0] for line in above.lines) == [0.02, 0.06, 0.10, 0.12]
    letters = sorted((round(text.xy[0], 3), text.get_text()) for text in below.texts)
    assert letters == [(0.03, "a"), (0.09, "␣"), (0.11, "b")]


def test_reliability_diagrams_show_the_error_that_is_measured():
    sure, right = [0.05, 0.55, 0.58, 0.95], [False, True, False, True]
    figure = plots.plot_reliability({"before": reliability(sure, right), "after": reliability([0.5] * 4, right)})
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"before: ECE {calibration_error(sure, right):.3f}", "after: ECE 0.000"]
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.0, 0.5, 1.0]
    with pytest.raises(ValueError, match="at least one diagram"):
        plots.plot_reliability({})
