"""What data/README.md promises about the embedded corpus, and that its recipe runs."""

import dataclasses
import importlib.util
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from speechrnn import audio
from speechrnn.data import manifest

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "data" / "spoken_numbers"
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def splits():
    return {name: manifest.read(CORPUS / f"{name}.jsonl") for name in SPLITS}


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_spoken_numbers", CORPUS / "make.py")
    module = importlib.util.module_from_spec(spec)
    # `dataclass` looks its class's module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_whole_corpus_fits_in_3_megabytes():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.suffix != ".pyc") <= 3_000_000


@pytest.mark.parametrize("what", ["subject", "donor", "voice"])
def test_no_voice_is_in_two_splits(splits, what):
    heard = [
        {e.subject if what == "subject" else (e.extra["engine"], e.extra[what]) for e in splits[s]} for s in SPLITS
    ]
    if what == "donor":  # a person may be behind voices of two engines
        heard = [{donor for _, donor in split} for split in heard]
    assert sum(map(len, heard)) == len(set.union(*heard))


def test_more_than_one_engine_is_trained_on_and_tested_on(splits):
    engines = {name: {e.extra["engine"] for e in examples} for name, examples in splits.items()}
    assert engines["train"] == {"espeak", "flite", "festival"}
    assert len(engines["valid"]) > 1 and len(engines["test"]) > 1


def test_every_word_can_be_learned(splits):
    words = {name: {word for e in examples for word in e.text.split()} for name, examples in splits.items()}
    assert words["valid"] | words["test"] <= words["train"]
    assert all(re.fullmatch("[a-z]+", word) for word in words["train"])


def test_every_file_is_named_and_decodes_to_the_durations_in_the_manifest(splits):
    ends = {}
    for example in (e for examples in splits.values() for e in examples):
        ends[example.path] = max(ends.get(example.path, 0.0), example.offset + example.duration)
    assert {str(path) for path in CORPUS.rglob("*.opus")} == set(ends)
    for path, end in ends.items():
        signal, rate = audio.read(path)
        assert (rate, audio.probe(path).channels) == (16_000, 1)
        assert len(signal) / rate == pytest.approx(end, abs=1e-4), path


def test_segments_of_a_session_follow_each_other_and_are_not_silent(splits):
    session = [e for e in splits["train"] if e.path == splits["train"][0].path]
    whole, rate = audio.read(session[0].path)
    for before, after in itertools.pairwise(session):
        assert before.offset + before.duration == pytest.approx(after.offset, abs=1e-6)
    for example in session:
        segment, _ = audio.read(example.path, offset=example.offset, duration=example.duration)
        start = round(example.offset * rate)
        # The decoder starts a little before the segment and has not settled to the last bit.
        np.testing.assert_allclose(segment, whole[start : start + len(segment)], rtol=0, atol=0.02)
        assert np.abs(segment).max() > 0.05


def test_manifests_hold_the_sentences_that_the_script_draws(splits, make):
    drawn = {name: [] for name in SPLITS}
    for voice in make.cast(np.random.default_rng(make.SEED)):
        drawn[voice.split] += [(voice.name, text) for text in make.sentences(voice, make.stream(voice))]
    for name, examples in splits.items():
        assert [(e.subject, e.text) for e in examples] == drawn[name]


def test_an_engine_that_is_not_installed_is_named_and_left_out(make, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(make.shutil, "which", lambda program: None)
    make.available.cache_clear()
    make.make(tmp_path)
    assert "espeak-ng` is not installed" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*.opus"))


def test_recipe_trains_and_scores_the_unseen_voices(splits, tmp_path):
    from pipelines import spoken_numbers

    small = tmp_path / "data"
    for name, examples in splits.items():
        manifest.write(small / f"{name}.jsonl", examples[:24] if name == "train" else examples[:4])
    options = dataclasses.replace(spoken_numbers.OPTIONS, epochs=1, batch_size=8, average=0.0)
    run, *reports = spoken_numbers.learn(str(tmp_path / "tiny.keras"), small, options, units=8, layers=1)
    assert len(run.history) == 1 and Path(run.path).exists()
    for report in reports:
        assert [u.reference for u in report.utterances] == [e.text for e in splits["test"][:4]]
    greedy, searched = ({word for u in report.utterances for word in u.hypothesis.split()} for report in reports)
    known = {word for example in splits["train"][:24] for word in example.text.split()}
    assert searched <= known and not greedy <= known
