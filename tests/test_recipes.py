"""Recipes on real recordings, cut short: every step of them runs."""

import ast
import dataclasses
import functools
import gzip
import itertools
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from pipelines import (
    an4_ctc,
    an4_transducer,
    english,
    english_speech,
    english_words,
    gradient_flow,
    letters_numbers,
    librispeech_ctc,
    streaming,
    translation,
)
from speechrnn.data import sentences
from speechrnn.data.manifest import Example
from speechrnn.models.loading import load
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.building import for_manifest
from speechrnn.text import lexicons
from speechrnn.training.run import TrainingRun
from tests.recordings import thinned

RECIPES = sorted(Path(an4_ctc.__file__).parent.glob("*.py"))
TINY = {"units": 8, "layers": 1, "convolutions": 1}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_training_that_was_stopped_gives_no_figures(recipe):
    tree = ast.parse(recipe.read_text(encoding="utf-8"))
    runs = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "run"
    ]
    assert all(ast.unparse(run).endswith(".completed()") for run in runs if "train(" in ast.unparse(run))


def test_a_recipe_that_was_stopped_goes_no_further(tmp_path, monkeypatch):
    pairs = [f"{one} {two}\t{one} {two}" for one, two in itertools.permutations("abcdef", 2)]
    (tmp_path / "fra.txt").write_text("\n".join(pairs), encoding="utf-8")
    stopped = TrainingRun("a.keras", "a.training", (), 1, 0.0, interrupted=True)
    monkeypatch.setattr(translation.sr, "train", lambda *a, **o: stopped, raising=False)
    with pytest.raises(KeyboardInterrupt):
        translation.main(str(tmp_path), str(tmp_path / "out"))


@pytest.mark.slow
def test_an4(data_dir, tmp_path, monkeypatch):
    prepare = an4_ctc.an4.prepare
    monkeypatch.setattr(an4_ctc.an4, "prepare", lambda *a, **o: (p := prepare(*a, **o)) | {"train": p["train"][::30]})
    options = dataclasses.replace(an4_ctc.OPTIONS, epochs=1)
    run, report = an4_ctc.main(str(data_dir / "an4"), str(tmp_path), options=options, **TINY)
    assert len(report.utterances) == 130
    assert report.hits + report.substitutions + report.deletions == 773
    assert run.best_epoch == 1


@pytest.mark.slow
def test_an4_by_a_transducer_by_ctc_and_by_attention_with_the_same_encoder(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(an4_transducer.an4, "prepare", thinned(an4_transducer.an4.prepare, 40))
    options = dataclasses.replace(an4_transducer.OPTIONS, epochs=1)
    for criterion, size in (("transducer", {"joint": 8}), ("ctc", {}), ("attention", {"joint": 8})):
        run, *reports = an4_transducer.main(
            str(data_dir / "an4"), str(tmp_path / criterion), criterion, options=options, **TINY, **size
        )
        searches = 1 if criterion == "attention" else 2  # which has no best path
        assert [len(report.utterances) for report in reports] == [4] * searches
        kinds = {"transducer": "transducer", "ctc": "recognizer", "attention": "recognizer with attention"}
        assert run.model.kind == kinds[criterion]


@pytest.mark.slow
def test_librispeech_and_an4_begun_from_it(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(librispeech_ctc.librispeech, "prepare", thinned(librispeech_ctc.librispeech.prepare, 40))
    options = dataclasses.replace(librispeech_ctc.OPTIONS, epochs=1)
    run, reports = librispeech_ctc.main(
        str(data_dir), valid="dev-clean-5", tests=["test-other-100"], subwords=40, out=str(tmp_path), options=options,
        **TINY,
    )  # fmt: skip
    assert [(name, how, len(r.utterances)) for (name, how), r in reports.items()] == [
        ("dev-clean-5", "greedy", 4), ("dev-clean-5", "beam 64 + 3-gram", 4),
        ("test-other-100", "greedy", 3), ("test-other-100", "beam 64 + 3-gram", 3),
    ]  # fmt: skip
    assert "1 epochs of" in capsys.readouterr().out
    monkeypatch.setattr(an4_ctc.an4, "prepare", thinned(an4_ctc.an4.prepare, 20))
    options = dataclasses.replace(an4_ctc.OPTIONS, epochs=1)
    run, report = an4_ctc.main(str(data_dir / "an4"), str(tmp_path / "an4"), start=run.path, options=options)
    model = run.model
    assert len(report.utterances) == 7
    assert len(model.vocabulary) < 40 and model.card["begun_from"]["data"] == "LibriSpeech, train-clean-5"


@pytest.mark.slow
def test_english_words_packs_what_it_chose(data_dir, tmp_path, monkeypatch):
    for corpus, every in ((english_words.an4, 60), (english_words.fsdd, 200), (english_words.librispeech, 50)):
        monkeypatch.setattr(corpus, "prepare", thinned(corpus.prepare, every))
    monkeypatch.setattr(english_words, "EVERY", 1)
    monkeypatch.setattr(english_words, "BEAM", 4)
    whole = lexicons.cmudict()
    few = whole.only(list(whole)[::60])
    monkeypatch.setattr(english_words.lexicons, "cmudict", lambda: few)
    for_manifest([], vocabulary=few.vocabulary(), features=english.FEATURES, **TINY).save(tmp_path / "m.keras")
    with gzip.open(tmp_path / "lm.txt.gz", "wt") as file:
        file.write("yes no\nno yes yes\n")
    monkeypatch.setattr(english_words, "PRUNE", 0.0)
    monkeypatch.setattr(english_words, "books", functools.partial(lambda real, _: real(tmp_path), english_words.books))
    reports = english_words.main(str(data_dir), str(tmp_path / "m.keras"), str(tmp_path))
    assert [len(report.utterances) for report in reports.values()] == [3, 2, 3, 5]
    session = load(tmp_path / "english.onnx")
    assert attachments.attached_options(session)["beam"] == 4
    said = {
        word for report in reports.values() for utterance in report.utterances for word in utterance.hypothesis.split()
    }
    assert said <= set(lexicons.read(tmp_path / "words.lexicon"))


@pytest.mark.slow
def test_english_and_continued_with_the_pronunciations_that_were_said(data_dir, tmp_path, monkeypatch):
    for corpus in (
        english_speech.an4,
        english_speech.common_voice,
        english_speech.esc10,
        english_speech.fsdd,
        english_speech.kaldi,
        english_speech.librispeech,
        english_speech.ljspeech,
    ):
        monkeypatch.setattr(corpus, "prepare", thinned(corpus.prepare, 100))
    whole = lexicons.cmudict()
    few = whole.only(list(whole)[::60])
    monkeypatch.setattr(english.lexicons, "cmudict", lambda: few)
    monkeypatch.setattr(english, "LettersToPhones", lambda lexicon: lambda word: ["AH", "T"])  # has its own tests
    options = dataclasses.replace(english.OPTIONS, epochs=1, batch_seconds=None, batch_size=8)
    run, reports = english.main(str(data_dir), str(tmp_path), options=options, units=8, layers=1)
    assert {"dev-clean-5", "test-other-100", "common voice", "an4", "fsdd"} == set(reports)
    assert all(report.utterances for report in reports.values())
    model = run.model
    assert len(model.vocabulary) == 40 and model.stride * model.features.hop == 512
    monkeypatch.setattr(english, "FEATURES", {"hop": 200})
    again, _ = english.main(
        str(data_dir), str(tmp_path / "more"), start=str(tmp_path / "english.keras"), options=options
    )
    assert again.model.card["begun_from"]["task"] == model.card["task"]
    assert again.model.stride * again.model.features.hop == 800 and again.model.network.count_params() < 100_000


def test_sentences_to_be_recognized_are_not_in_the_language_model(tmp_path, capsys):
    lines = tmp_path / "book.txt"
    lines.write_text("IT WAS NIGHT\n\nIt was not day.\n")
    held_out = [Example("a.flac", 1.0, text="it was night")]
    model = librispeech_ctc.language_model(list(sentences.read([str(lines)])), held_out, tmp_path / "lm.arpa")
    assert "night" not in model.words and "day" in model.words
    assert "1 sentences; 1 that" in capsys.readouterr().out


@pytest.mark.slow
def test_streaming(data_dir, tmp_path, monkeypatch):
    for corpus in (streaming.an4, streaming.fsdd):
        monkeypatch.setattr(corpus, "prepare", thinned(corpus.prepare, 25))
    options = dataclasses.replace(streaming.OPTIONS, epochs=1)
    folders = str(data_dir / "an4"), str(data_dir / "fsdd" / "recordings")
    run, letters, digits = streaming.main(*folders, str(tmp_path), options=options, **TINY)
    assert (len(letters.utterances), len(digits.utterances)) == (6, 40)
    assert (tmp_path / "english_letters_numbers_streaming.onnx").exists()
    assert run.best_epoch == 1


def test_the_held_out_speakers_are_in_the_corpus(data_dir):
    speakers = {folder.name for folder in (data_dir / "an4" / "wav" / "an4_clstk").iterdir()}
    assert len(speakers) == 74
    assert speakers > an4_ctc.VALID_SPEAKERS and len(an4_ctc.VALID_SPEAKERS) == 8
    digits = {path.name.split("_")[1] for path in (data_dir / "fsdd" / "recordings").iterdir()}
    assert digits > set(letters_numbers.HELD_OUT)


@pytest.mark.slow
def test_gradient_flow(tmp_path, capsys):
    rows = gradient_flow.main(str(tmp_path), lag=32, steps=1, test_rows=32, epochs=1, sequences=32)
    starts = {(row[0], row[2]): row[3].verdict(min(10, len(row[3].norms) - 1)).state for row in rows}
    assert starts["adding", "GRU, gates open for the lag"] == "healthy"
    assert "gates open for the lag" in capsys.readouterr().out
    for name in ("gradient_norms.png", "learning_curves.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_no_recipe_has_more_than_120_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in Path(an4_ctc.__file__).parent.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 120} == {}


RECIPES = [path for path in Path(an4_ctc.__file__).parent.glob("*.py") if "    recipe(main" in path.read_text()]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES))
def test_every_recipe_has_a_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as ended:  # it was imported before
        runpy.run_module(f"pipelines.{name}", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    assert f"usage: python -m pipelines.{name}" in capsys.readouterr().out
