"""Error reports: rates from summed counts, intervals, confusions, and nothing lost in silence."""

import io
import itertools
import json
import math
import random

import jiwer
import numpy as np
import pytest
from fakes import Speller, record
from rich.console import Console

from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.errors import compare, error_report, score
from speechrnn.metrics.intervals import paired_bootstrap, rate_interval
from speechrnn.tasks.recognition.evaluation import evaluate, print_report


@pytest.fixture
def corpus():
    """Pairs of texts with errors of each kind, by four speakers."""
    draw = random.Random(3)
    words = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
    pairs = []
    for _ in range(60):
        said = draw.choices(words, k=draw.randint(1, 9))
        heard = [draw.choice(words) if draw.random() < 0.15 else word for word in said if draw.random() > 0.1]
        pairs.append((" ".join(said), " ".join(heard + draw.choices(words, k=draw.random() < 0.1))))
    return pairs


def report_of(pairs, **options):
    scored = [
        score(reference, hypothesis, id=str(index), subject=f"s{index % 4}", seconds=2.0)
        for index, (reference, hypothesis) in enumerate(pairs)
    ]
    return error_report(scored, **options)


def test_rates_and_counts_are_jiwers(corpus):
    report = report_of(corpus)
    words = jiwer.process_words(*map(list, zip(*corpus, strict=True)))
    characters = jiwer.process_characters(*map(list, zip(*corpus, strict=True)))
    assert report.wer == pytest.approx(words.wer)
    assert report.cer == pytest.approx(characters.cer)
    for name in ("hits", "substitutions", "deletions", "insertions"):
        assert getattr(report, name) == getattr(words, name)


def test_a_rate_is_not_the_mean_of_rates():
    assert report_of([("a b c d", "a b c d"), ("e", "f")]).wer == 1 / 5


def test_speakers_add_up_to_the_whole(corpus):
    report = report_of(corpus)
    assert list(report.speakers) == ["s0", "s1", "s2", "s3"]
    assert sum(report.speakers.values(), Edits()) == report.words


def test_confusions_deletions_and_insertions_are_counted_and_ordered():
    report = report_of([("a b c", "a x c"), ("b b", "x b"), ("d d e", "e"), ("f", "f g"), ("a", "h")])
    assert report.confusions() == [("b", "x", 2), ("a", "h", 1)]
    assert report.confusions(1) == [("b", "x", 2)]
    assert report.deleted() == [("d", 2)]
    assert report.inserted() == [("g", 1)]


def test_the_worst_utterances_come_first():
    report = report_of([("a b c", "a b c"), ("a b", "x y"), ("a", "x")])
    assert [utterance.reference for utterance in report.worst()] == ["a b", "a"]


def test_the_bootstrap_is_that_of_every_possible_draw():
    found = [Edits(8, 2, 0, 0), Edits(9, 0, 1, 0), Edits(5, 3, 2, 4), Edits(10, 0, 0, 0)]
    every = []
    for drawn in itertools.product(found, repeat=len(found)):
        every.append(sum(f.errors for f in drawn) / sum(f.reference_length for f in drawn))
    low, high = rate_interval(found, resamples=200_000)
    assert (low, high) == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.011)


def test_draws_without_a_reference_token_have_no_rate():
    # Of the four draws of two, one has no token; the others give 2/8, 4/4 and 4/4.
    assert rate_interval([Edits(insertions=3), Edits(hits=3, deletions=1)], resamples=2000) == (0.25, 1.0)


def test_the_bootstrap_covers_the_true_rate_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        errors = draw.binomial(10, 0.1, size=80)
        low, high = rate_interval([Edits(10 - int(e), int(e)) for e in errors], resamples=400, seed=seed)
        covered += low <= 0.1 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_repeats_with_its_seed_and_needs_little_memory(monkeypatch, corpus):
    report = report_of(corpus, seed=5)
    assert report.interval == report_of(corpus, seed=5).interval
    assert report.interval[0] < report.wer < report.interval[1]
    assert report.interval != report_of(corpus, seed=6).interval


def test_speakers_that_differ_widen_the_interval():
    steady = [("a b c d e", "a b c d e")] * 3 + [("a b c d e", "v w x y z")]
    report = report_of(steady * 15)  # one of the four speakers is never understood
    assert report.speaker_interval[1] - report.speaker_interval[0] > 2 * (report.interval[1] - report.interval[0])
    assert error_report([score("a", "b", subject="only")]).speaker_interval is None


@pytest.mark.parametrize(
    ("pairs", "wer", "cer"),
    [
        ([("", "")], 0.0, 0.0),
        ([("", "a b")], math.inf, math.inf),
        ([("a b", "")], 1.0, 1.0),
        ([("", "a"), ("a b", "a b")], 0.5, 1 / 3),
        ([("  a   b ", "a b")], 0.0, 0.0),
    ],
)
def test_empty_texts_are_counted(pairs, wer, cer):
    report = report_of(pairs)
    assert (report.wer, report.cer) == (pytest.approx(wer), pytest.approx(cer))
    json.dumps(report.to_dict(utterances=True), allow_nan=False)


def test_a_report_of_nothing_claims_nothing():
    report = error_report([], faults=[Fault("a.wav", "missing", "a.wav: there is no such file.")])
    assert math.isnan(report.wer)
    assert str(report) == "No utterance was scored; 1 failed."
    assert report.to_dict()["wer"] is None


def test_the_dictionary_holds_the_report(corpus):
    report = report_of(corpus, elapsed=6.0)
    found = json.loads(json.dumps(report.to_dict(utterances=True), allow_nan=False))
    assert found["wer"] == pytest.approx(report.wer)
    assert found["words"]["reference"] == sum(len(reference.split()) for reference, _ in corpus)
    assert (found["utterances"], found["hours"], found["real_time_factor"]) == (60, 120 / 3600, 0.05)
    assert found["speakers"]["s1"]["wer"] == pytest.approx(report.speakers["s1"].rate)
    assert found["details"][7]["reference"] == corpus[7][0]


def test_the_printed_report_says_the_rate_the_speakers_and_the_failures(corpus):
    out = io.StringIO()
    fault = Fault("a.wav", "missing", "a.wav: there is no such file.")
    report = report_of(corpus, faults=[fault])
    print_report(report, Console(file=out, width=200), per_speaker=True)
    text = out.getvalue()
    assert f"WER {100 * report.wer:.2f} %" in text
    assert "1 more FAILED and are in none of these rates" in text
    assert all(f"s{n}" in text for n in range(4))
    said, heard, times = report.confusions()[0]
    assert f"{said} > {heard} ({times})" in text


def test_a_recognizer_is_scored_against_a_manifest(tmp_path):
    heard = {"a": "bad cab", "b": "jig", "c": "head"}
    said = {"a": "bad cab", "b": "jig age", "c": "heed"}
    examples = [
        Example(record(tmp_path / f"{name}.wav", text), 1.0, text=said[name], subject=f"s{name}")
        for name, text in heard.items()
    ]
    examples = [Example(e.path, _seconds(e.path), text=e.text, subject=e.subject) for e in examples]
    gone = Example(str(tmp_path / "gone.wav"), 1.0, text="bad")
    silent = Example(examples[0].path, 0.5, id="without")
    faults, done = Faults(), []
    report = evaluate(Speller(), [examples[0], gone, silent, *examples[1:]], faults=faults, progress=done.append)
    assert [utterance.hypothesis for utterance in report.utterances] == list(heard.values())
    assert (report.hits, report.substitutions, report.deletions, report.insertions) == (3, 1, 1, 0)
    assert sorted(fault.kind for fault in report.faults) == ["missing", "without a text"]
    assert list(report.speakers) == ["sa", "sb", "sc"]
    assert report.seconds == pytest.approx(sum(e.duration for e in examples))
    assert report.real_time_factor > 0
    assert len(faults) == 2
    assert len(done) == 4


def _seconds(path):
    from speechrnn import audio

    return audio.probe(path).duration


# Two recognizers


def test_the_paired_bootstrap_is_that_of_every_possible_draw():
    first = [Edits(8, 2, 0, 0), Edits(9, 0, 1, 0), Edits(5, 3, 2, 4), Edits(10, 0, 0, 0)]
    second = [Edits(9, 1, 0, 0), Edits(9, 0, 1, 0), Edits(8, 1, 1, 1), Edits(8, 2, 0, 0)]
    every = []
    for drawn in itertools.product(range(4), repeat=4):
        rates = [sum(f[i].errors for i in drawn) / sum(f[i].reference_length for i in drawn) for f in (first, second)]
        every.append(rates[1] - rates[0])
    found = paired_bootstrap(first, second, resamples=200_000)
    assert found.difference == pytest.approx((1 + 1 + 3 + 2 - 2 - 1 - 9 - 0) / 40)
    assert found.interval == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.011)
    ties = np.isclose(every, 0)
    better = np.mean(np.where(ties, 0.5, np.array(every) < 0))
    assert found.second_better == pytest.approx(better, abs=0.005)


def test_what_is_hard_for_both_does_not_hide_a_difference():
    hard = np.random.default_rng(1).integers(0, 10, size=60)
    first = [Edits(10 - int(n), int(n)) for n in hard]
    second = [Edits(10 - max(0, int(n) - 1), max(0, int(n) - 1)) for n in hard]
    alone = rate_interval(first), rate_interval(second)
    assert alone[1][1] > alone[0][0]  # the intervals overlap
    found = paired_bootstrap(first, second)
    assert found.significant and found.second_better == 1.0
    assert found.interval[1] - found.interval[0] < (alone[0][1] - alone[0][0]) / 2
    back = paired_bootstrap(second, first)
    assert back.difference == pytest.approx(-found.difference) and back.second_better == 0.0


def test_a_system_is_no_better_than_itself(corpus):
    report = report_of(corpus)
    found = compare(report, report)
    assert found.utterances == len(corpus)
    for difference in (found.words, found.characters, found.speakers):
        assert (difference.difference, difference.interval, difference.second_better) == (0.0, (0.0, 0.0), 0.5)
        assert not difference.significant


def test_only_what_both_were_scored_on_is_compared(corpus):
    whole, part = report_of(corpus), report_of(corpus[:20])
    assert compare(whole, part).utterances == 20
    assert compare(whole, part).words.difference == 0.0
    with pytest.raises(ValueError, match="utterances in common"):
        compare(whole, report_of([("other", "other")]))
    with pytest.raises(ValueError, match="same references"):
        paired_bootstrap([Edits(3)], [Edits(2)])


def test_each_recognized_word_is_judged_with_its_confidence():
    scored = score("a b c", "x b", confidences=[0.3, 0.9])
    assert scored.judged == [(0.3, False), (0.9, True)]
    assert score("a b", "a b").judged == score("a", "a b", confidences=[0.5]).judged == []


def test_the_interval_of_characters_is_that_of_their_counts(corpus):
    report = report_of(corpus)
    assert report.character_interval == rate_interval([u.characters for u in report.utterances])
    assert report.to_dict()["cer_interval"] == list(report.character_interval)
