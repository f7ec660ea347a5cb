"""The report: one page that holds what was measured, needs no other file, and says nothing that was not measured."""

import base64
import dataclasses
import io
import itertools
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from fakes import Speller, record

from speechrnn import cli
from speechrnn.cli import terminal
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.metrics.calibration import Calibration, calibration_error, reliability
from speechrnn.metrics.errors import compare
from speechrnn.report import measure, page, pieces, plots, training_history
from speechrnn.report.plots.style import PALETTE
from speechrnn.tasks.recognition import transcription as transcribe
from speechrnn.tasks.recognition.evaluation import evaluate
from speechrnn.tasks.recognition.transcript import Word
from speechrnn.text import Phones

HEARD = {"one": "bad cab", "two": "jig", "three": "head <b>", "four": "a bad egg", "five": "dig"}
SAID = {"one": "bad cab", "two": "jig age", "three": "heed <u> gad", "four": "a egg", "five": "dig"}
VOID = {"meta", "br", "img", "link", "input"}


class Deafer(Speller):
    """Hears `b` for `a`."""

    def _one(self, signal):
        logits = super()._one(signal)
        a, b = self.vocabulary.encode("ab")
        logits[:, b] += logits[:, a] * 2
        return logits


class Tags(HTMLParser):
    """Checks that every element is closed in its turn, and keeps what a browser would load."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.loaded = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "action")]
        if tag not in VOID and tag != "html":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag != "html":
            assert self.open.pop() == tag


@pytest.fixture
def examples(tmp_path):
    made = []
    for number, (name, text) in enumerate(HEARD.items()):
        path = record(tmp_path / f"{name}.wav", text.replace(" <b>", " be"))
        seconds = soundfile.info(path).duration
        made.append(Example(path, seconds, text=SAID[name], subject=f"<i>s{number % 2}</i>"))
    return made


@pytest.fixture
def text(examples):
    return page(measure(Speller(), examples, name="speller & co"), measure(Deafer(), examples, name="deafer"), test="t")


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(text):
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert all(value.startswith(("data:", "#")) for value in tags.loaded)
    assert not {"script", "link", "iframe"} & set(tags.seen)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert "$" not in text


def test_every_link_leads_to_a_section(text):
    links = re.findall(r'<a href="#([^"]+)"', text)
    assert links == re.findall(r'<h2 id="([^"]+)"', text)
    assert {"compare", "worst", "speakers", "lengths", "confusions", "confidence", "errors", "card"} <= set(links)


def test_names_and_texts_are_escaped(text):
    assert "<b>&lt;u&gt;</b>" in text and "&lt;i&gt;s0&lt;/i&gt;" in text and "speller &amp; co" in text
    assert "<u>" not in text and "<i>s0" not in text and "speller & co" not in text


def test_the_rates_are_those_of_evaluate(text, examples):
    report = evaluate(Speller(), examples)
    assert pieces.percent(report.wer) in text and pieces.percent(report.cer) in text
    assert pieces.interval(report.interval) in text and pieces.interval(report.character_interval) in text
    other = evaluate(Deafer(), examples)
    difference = compare(report, other).words
    assert f"{100 * difference.difference:+.2f}" in text
    assert f"{100 * difference.interval[0]:+.2f} to {100 * difference.interval[1]:+.2f}" in text


def test_each_word_of_the_worst_has_what_became_of_it(examples):
    measured = measure(Speller(), examples, worst=3)
    assert [clip.utterance.id for clip in measured.clips] == [u.id for u in measured.report.worst(3)]
    shown = page(measured)
    said = shown[shown.index('id="worst"') : shown.index('id="speakers"')]
    assert '<div class="pair left"><b>age</b><span>–</span></div>' in said
    assert '<div class="pair more"><b>–</b><span>bad</span></div>' in said
    assert '<div class="pair wrong"><b>heed</b><span>head</span></div>' in said
    assert '<div class="pair"><b>jig</b><span>jig</span></div>' in said


def test_the_worst_can_be_heard_as_they_were_recorded(text, examples):
    sounds = [base64.b64decode(s) for s in re.findall(r"data:audio/ogg;base64,([^\"]+)", text)]
    worst = evaluate(Speller(), examples).worst()
    assert len(sounds) == len(worst) == 3
    by_id = {example.id: example for example in examples}
    for sound, utterance in zip(sounds, worst, strict=True):
        heard, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
        signal = transcribe.read_whole(by_id[utterance.id], 16000)
        assert rate == 16000 and abs(len(heard) - len(signal)) < 400
        size = min(len(heard), len(signal))
        assert np.corrcoef(heard[:size], signal[:size])[0, 1] > 0.8  # Opus has no direct current


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000])
def test_sound_at_any_rate_keeps_its_length(rate, rng):
    content = base64.b64decode(pieces.sound(0.1 * rng.normal(size=rate).astype("float32"), rate).partition(",")[2])
    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(1.0, abs=0.01)
    assert len(content) < 25_000


def test_the_spectrogram_shows_a_tone_at_its_frequency_and_time():
    times = np.arange(16000) / 16000
    signal = np.where(times > 0.5, np.sin(2 * np.pi * 1000 * times), 0).astype("float32")
    wave, spectrogram = plots.plot_signal(signal, 16000).axes
    (mesh,) = spectrogram.collections
    energies, places = mesh.get_array(), mesh.get_coordinates()
    low, high = (places[energies[:, 75].argmax() + i, 0, 1] for i in (0, 1))
    assert low < 1000 < high and high - low < 60
    loud = energies.max(axis=0) > energies.max() - 1
    assert abs(places[0, loud.argmax(), 0] - 0.5) <= 0.02 and loud[52:100].all()
    assert wave.get_xlim() == spectrogram.get_xlim() == (0, 1)


def drawn_words(clip, right):
    return plots.plot_words(
        clip.signal, clip.sample_rate, clip.logits, clip.words, clip.vocabulary, frame_period=clip.frame_period,
        right=right,
    )  # fmt: skip


def test_words_and_letters_stand_where_they_were_heard(examples):
    (clip,) = measure(Speller(), examples[1:2]).clips
    above, below = drawn_words(clip, [False]).axes
    (word,) = clip.words
    assert [line.get_xdata()[0] for line in above.lines] == [word.start, word.end]
    (name,) = above.texts
    assert name.get_text() == "jig" and name.get_color() == PALETTE["wrong"]
    assert name.xy[0] == pytest.approx((word.start + word.end) / 2)
    places = [text.xy[0] for text in below.texts]
    assert "".join(text.get_text() for text in below.texts) == "jig" and places == sorted(places)
    assert drawn_words(clip, [True]).axes[0].texts[0].get_color() == PALETTE["ink"]


def test_phones_are_named_without_the_space_that_spells_them(examples):
    (clip,) = measure(Speller(), examples[1:2]).clips
    symbols = [symbol.upper() if symbol.strip() else "SIL" for symbol in clip.vocabulary.symbols]
    _, below = drawn_words(dataclasses.replace(clip, vocabulary=Phones(symbols)), [False]).axes
    assert [text.get_text() for text in below.texts] == ["J", "I", "G"]
    assert ", 1 speaker," in page(measure(Speller(), examples[1:2]))


def test_words_that_are_close_get_room_for_their_names(examples):
    (clip,) = measure(Speller(), examples[1:2]).clips
    words = tuple(Word("seventeen", 0.1 + 0.3 * n, 0.2 + 0.3 * n, 1.0) for n in range(9))
    clip = dataclasses.replace(clip, signal=np.zeros(4 * 16000, np.float32), words=words)
    figure = drawn_words(clip, [True] * 9)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 9 and all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    alone = dataclasses.replace(clip, words=clip.words[:1])
    assert drawn_words(alone, [True]).get_figwidth() < 0.7 * figure.get_figwidth()


def test_a_figure_in_a_page_has_the_page_s_colors_and_numbers(examples):
    rates = {"one <b>": (0.1234, (0.1, 0.15)), "two": (0.2, (0.18, 0.25)), "gone": (math.nan, (math.nan, math.nan))}
    text = plots.svg(plots.plot_intervals(rates), "a & b")
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and "one &lt;b&gt;" in text and "gone" not in text
    assert text.startswith('<svg viewBox="0 0 360 ') and 'aria-label="a &amp; b"' in text
    assert "var(--one)" in text and "var(--two)" in text and "#000000" not in text and PALETTE["one"] not in text
    assert not re.search(r' id="patch|font-family|https?:', text)
    reliable = plots.svg(plots.plot_reliability({"x": reliability([0.9, 0.8, 0.1], [True, False, False])}), "r")
    assert f"x: ECE {calibration_error([0.9, 0.8, 0.1], [True, False, False]):.3f}" in reliable


def test_without_matplotlib_it_is_known_before_anything_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"Install them: pip install 'speechrnn\[report\]'"):
        measure(None, [])


def test_intervals_are_drawn_on_one_scale():
    axes = plots.plot_intervals({"a": (0.1, (0.08, 0.15)), "b": (0.2, (0.18, 0.25))}).axes[0]
    assert [[*line.get_xdata()] for line in axes.lines] == [[0.08, 0.15], [0.1], [0.18, 0.25], [0.2]]
    assert axes.get_xlim()[0] == 0


def test_a_long_utterance_is_shown_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("speechrnn.report.measuring.SHOWN_SECONDS", 0.5)
    path = record(tmp_path / "long.wav", "bad cab")
    measured = measure(Speller(), [Example(path, soundfile.info(path).duration, text="bid")])
    assert len(measured.clips[0].signal) == 8000 and not measured.clips[0].whole
    assert "are shown" in page(measured)


def test_the_diagram_shows_the_bins_and_the_error(examples):
    measured = measure(Speller(), examples, calibration=Calibration(0.5, -1.0))
    judged = [pair for u in measured.report.utterances for pair in u.judged]
    sure, right = zip(*judged, strict=True)
    assert len(sure) == sum(len(text.split()) for text in HEARD.values())
    shown = page(measured)
    assert f"{len(sure)} words: ECE {calibration_error(sure, right):.3f}" in shown
    corrected = measured.calibration(np.array(sure))
    assert f"calibrated: ECE {calibration_error(corrected, right):.3f}" in shown


def test_training_is_drawn_where_its_log_lies_beside_the_model(tmp_path, examples):
    assert training_history(tmp_path / "m.keras") == ()
    (tmp_path / "m.training").mkdir()
    (tmp_path / "m.training" / "log.csv").write_text("epoch,loss,val_wer\n1,3.5,\n2,2.5,0.25\n,,\n")
    assert training_history(tmp_path / "m.onnx") == (
        {"epoch": 1.0, "loss": 3.5},
        {"epoch": 2.0, "loss": 2.5, "val_wer": 0.25},
    )
    (tmp_path / "m.keras").write_bytes(b"x")
    measured = measure(Speller(), examples, path=tmp_path / "m.keras")
    shown = page(measured)
    training = shown[shown.index('id="training"') : shown.index('id="errors"')]
    assert training.count("<svg") == 2 and "loss" in training and "error rate" in training
    assert 'id="training"' not in page(measure(Speller(), examples))


def test_lengths_and_speakers_add_up(text, examples):
    report = evaluate(Speller(), examples)
    for section, following, count in (("speakers", "lengths", 1), ("lengths", "confusions", 2)):
        part = text[text.index(f'id="{section}"') : text.index(f'id="{following}"')]
        tables = re.findall(r"<table>.*?</table>", part)
        assert len(tables) == count
        for table in tables:
            rows = [re.findall(r'<td class="n">([\d,]+)</td>', row) for row in table.split("<tr>")[2:]]
            utterances, words, errors = (sum(int(row[i]) for row in rows) for i in range(3))
            assert (utterances, words, errors) == (5, report.words.reference_length, report.words.errors)


def test_nothing_scored_is_no_report(tmp_path):
    with pytest.raises(ValueError, match="needs utterances that were scored"):
        page(measure(Speller(), [Example(str(tmp_path / "gone.wav"), 1.0, text="a")]))
    with pytest.raises(ValueError, match="`worst` must be zero or more"):
        measure(Speller(), [], worst=-1)


def test_a_model_without_errors_confidences_or_speakers_has_a_page(tmp_path):
    path = record(tmp_path / "a.wav", "bad")
    shown = page(measure(Speller(), [Example(path, soundfile.info(path).duration, text="bad")], worst=0))
    assert "1 of 1" in shown and 'id="worst"' not in shown and 'id="speakers"' not in shown


# The verb


@pytest.fixture
def verb(examples, tmp_path, monkeypatch):
    models = {"good": Speller(), "deaf": Deafer()}
    monkeypatch.setattr(terminal, "load_model", lambda path: models[path.rpartition("/")[2]])
    for name in models:
        (tmp_path / name).write_bytes(b"model")
    manifest.write(tmp_path / "test.jsonl", examples)
    return lambda *words: cli.main(["report", "--model", str(tmp_path / "good"), str(tmp_path / "test.jsonl"), *words])


def test_the_verb_writes_the_page_and_says_the_rates(verb, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert verb("--compare", str(tmp_path / "deaf"), "--out", str(out)) == 0
    assert "Figures without a name are those of " in out.read_text()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("good: WER ") and said[1].startswith("deaf: WER ")
    assert re.match(r"difference \+[\d.]+ points of WER \(95 % interval [+-][\d.]+ to \+[\d.]+\)", said[2])
    assert "good and deaf" in out.read_text(encoding="utf-8")
    assert verb("--out", str(out)) == 2
    assert "exists already" in capsys.readouterr().err
    assert verb("--out", str(out), "--overwrite", "--worst", "1", "--beam", "4") == 0
    assert out.read_text(encoding="utf-8").count("<audio") == 1
    assert "beam 4" in out.read_text(encoding="utf-8")


def test_two_files_of_the_same_name_are_told_apart_by_their_paths(verb, tmp_path, capsys):
    (tmp_path / "later").mkdir()
    other = tmp_path / "later" / "good"
    other.write_bytes(b"model")
    assert verb("--compare", str(other), "--out", str(tmp_path / "r.html")) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{tmp_path / 'good'}: WER ") and said[1].startswith(f"{other}: WER ")


def test_examples_of_one_id_are_refused_since_a_page_would_mix_their_sounds(examples):
    with pytest.raises(ValueError, match=r"unique ids. Received: '\w+' twice"):
        measure(Speller(), [examples[0], examples[0]])


def test_what_cannot_be_read_is_named_and_on_the_page(verb, tmp_path, examples, capsys):
    manifest.write(
        tmp_path / "test.jsonl", [*examples, Example(str(tmp_path / "gone.wav"), 1.0, text="a")], overwrite=True
    )
    assert verb("--out", str(tmp_path / "r.html")) == 1
    assert "gone.wav" in capsys.readouterr().err
    assert "gone.wav" in (tmp_path / "r.html").read_text(encoding="utf-8")
    (tmp_path / "test.jsonl").write_text("")
    assert verb("--out", str(tmp_path / "n.html")) == 2
    assert "no examples" in capsys.readouterr().err
    assert verb("--compare", str(tmp_path / "none"), "--out", str(tmp_path / "n.html")) == 2
    assert not (tmp_path / "n.html").exists()


def test_the_model_of_the_package_is_measured_without_tensorflow(tmp_path):
    import pathlib

    data = pathlib.Path(__file__).parents[1] / "data" / "spoken_numbers"
    few = manifest.read(data / "valid.jsonl")[:6]
    manifest.write(tmp_path / "few.jsonl", few)
    code = (
        "import sys; from speechrnn.cli import main; "
        f"code = main(['report', {str(tmp_path / 'few.jsonl')!r}, '--out', {str(tmp_path / 'r.html')!r}]); "
        "heavy = {'tensorflow', 'keras'}; print('loaded', *(heavy & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("loaded")[-1].split() == []
    assert "english.onnx" in (tmp_path / "r.html").read_text(encoding="utf-8")
