"""Recipes of texts, notes and translations on a few lines: every step of them runs."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest

import speechrnn as sr
from pipelines import chorales, documents, translation


def test_no_sentence_of_either_language_is_on_two_sides():
    pairs = [(f"e{i}", f"f{i // 3}") for i in range(60)] + [(f"e{i}", f"g{i}") for i in range(0, 60, 7)]
    parts = translation.split(pairs, seed=1)
    assert sum(map(len, parts.values())) == len(pairs) and all(parts.values())
    for one, other in itertools.combinations(parts.values(), 2):
        assert not {e for e, _ in one} & {e for e, _ in other} and not {f for _, f in one} & {f for _, f in other}


def test_a_chord_has_one_spelling_and_a_rest_is_a_step():
    assert chorales.spelled([[64, 60, 60], [], [67]], shift=-2) == "58 62 | | 65 |"


def test_a_written_piece_becomes_midi():
    # As mido 1.3.3 reads it: two notes for a quarter, a quarter of rest, one note; 80 quarters a minute.
    file = chorales.midi("60 64 |\n| 67 | 55")
    assert file[:14] == bytes.fromhex("4d54686400000006000000010060")
    assert file[14:18] == b"MTrk" and int.from_bytes(file[18:22], "big") == len(file) - 22
    events = "00ff51030b71b000903c400090404060803c000080400060800000009043406080430000ff2f00"
    assert file[22:] == bytes.fromhex(events)


def test_bleu_takes_the_nearest_of_several_references():
    found = translation.scores(["il est parti hier soir"], [["elle est partie", "il est parti hier soir"]])
    assert [each.score for each in found] == [pytest.approx(100)] * 2


def test_scores_of_translations_have_intervals():
    answers = ["il est parti hier soir", "tu vois bien ce chat noir"] * 10
    truths = [["il est parti hier soir"], ["je vois mal un chien brun"]] * 10
    for score in translation.scores(answers, truths):
        assert 0 < score.score < 100 and re.search(r"± [1-9]", score.format(score_only=True))


@pytest.mark.slow
def test_chorales_run(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    drawn = {name: rng.integers(60, 65, (4, 8)).tolist() for name in ("train", "test")}
    pieces = {name: [[[note, 67] for note in piece] for piece in found] for name, found in drawn.items()}
    (tmp_path / "jsb-chorales-quarter.json").write_text(json.dumps({**pieces, "valid": pieces["test"]}))
    monkeypatch.setattr(chorales, "NETWORK", {"units": 8, "embedding": 4})
    options = dataclasses.replace(chorales.OPTIONS, epochs=1, batch_size=4)
    found = chorales.main(str(tmp_path), str(tmp_path / "out"), options, shift=1)
    # One epoch knows little: about as many nats as three draws among 89 words.
    assert found["3-gram of notes"] < found["recurrent"] < 3 * np.log(89) + 1
    assert (tmp_path / "out" / "written.mid").read_bytes().startswith(b"MThd")
    assert (tmp_path / "out" / "written.txt").read_text() and "time steps" in capsys.readouterr().out


@pytest.mark.slow
def test_documents_run_beside_their_baseline(tmp_path, monkeypatch, capsys):
    (tmp_path / "sms_spam").mkdir()
    lines = [f"{'spam' if i % 2 else 'ham'}\t{'win cash' if i % 2 else 'see you'} {i}" for i in range(60)]
    (tmp_path / "sms_spam" / "SMSSpamCollection").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(documents, "NETWORK", {"units": 4, "embedding": 4})
    options = dataclasses.replace(documents.OPTIONS, epochs=1)
    reports = documents.main(str(tmp_path), str(tmp_path / "out"), options, tasks=("spam",))
    assert len(reports["spam"].records) + len(reports["spam"].faults) > 5
    assert re.search(r"TF-IDF and logistic regression +100\.0 \[100\.0, 100\.0\]", capsys.readouterr().out)
    with pytest.raises(FileNotFoundError, match="Give the folder that holds it"):
        documents.read(tmp_path, "sentiment", tmp_path / "out", 0)


@pytest.mark.slow
def test_translation_runs(tmp_path, monkeypatch, capsys):
    words = {"i": "je", "you": "tu", "see": "vois", "hear": "entends", "it": "ça", "well": "bien"}
    lines = [" ".join(each) for each in itertools.product(("i", "you"), ("see", "hear"), ("it", "well"))]
    text = "\n".join(f"{line}{end}\t{' '.join(words[w] for w in line.split())}{end}" for line in lines for end in ".!?")
    (tmp_path / "fra.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(translation, "NETWORK", {"units": 8, "attention": 4, "embedding": 4})
    monkeypatch.setattr(translation, "words", lambda texts, real=translation.words: real(list(texts), least=1))
    options = dataclasses.replace(translation.OPTIONS, epochs=1, batch_size=4)
    table = translation.main(str(tmp_path), str(tmp_path / "out"), options)
    assert set(table) == {"attention, beam 4", "copying the source"}
    assert "BLEU" in capsys.readouterr().out and sr.load(tmp_path / "out" / "english_french.onnx").card["license"]
