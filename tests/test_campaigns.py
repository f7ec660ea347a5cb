"""Campaigns find what they are there to find, and damaged files are read rightly or refused by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import audio, harness, language, length, manifests, models, records, scarcity

ROOT = Path(__file__).resolve().parents[1]


def attempt(kind, seed, folder):
    """What a reader could do to a campaign."""
    path = folder / "a.bin"
    if kind == "refused":
        raise ValueError(f"{path}: is damaged.")
    if kind == "unnamed":
        raise ValueError("something is damaged")
    if kind == "crashed":
        raise KeyError("17")
    if kind == "wrong":
        raise harness.WrongError("half of it")
    if kind == "hung":
        while True:
            pass
    if kind == "died":
        import os

        os._exit(3)
    if kind == "took too much memory":
        np.ones(2**28)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
def test_a_campaign_tells_what_became_of_each_file(monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0.5)
    kinds = ["read", "refused", "unnamed", "crashed", "wrong", "hung", "died", "took too much memory"]
    tally = harness.campaign("tests.test_campaigns:attempt", [(kind, 1) for kind in [*kinds, "read"]], workers=1)
    assert dict(tally.read) == {"read": 2} and dict(tally.refused) == {"refused": 1}
    assert {finding.kind: finding.what for finding in tally.findings} == {kind: kind for kind in kinds[2:]}
    assert "| all | 9 | 1 | 2 | 6 |" in tally.table()


def test_every_damage_changes_a_file_and_a_seed_gives_the_same_one_again():
    data = bytes(range(48, 58)) * 100
    for name, change in harness.DAMAGES.items():
        changed = [change(np.random.default_rng(seed), data, 256) for seed in range(20)]
        assert sum(one != data for one in changed) > 15, name
        assert changed == [change(np.random.default_rng(seed), data, 256) for seed in range(20)]
        assert change(np.random.default_rng(0), b"", 256) is not None


@pytest.mark.slow
def test_damaged_sensor_records_are_read_rightly_or_refused_by_name():
    cases = list(harness.spread(records.KINDS, 450, 1_000_000))
    tally = harness.campaign("tests.campaigns.records:attempt", cases, workers=2)
    assert not tally.findings, f"seeds from 1000000: {tally.findings[:3]}"
    assert min(tally.read[kind] for kind in set(records.KINDS) - {"npz"}) > 0  # not everything is refused


def test_damaged_audio_is_read_whole_or_refused_by_name():
    cases = list(harness.spread(audio.KINDS, 10 * len(audio.KINDS), 1_000_000))
    tally = harness.campaign("tests.campaigns.audio:attempt", cases, workers=1)
    assert not tally.findings, f"seeds from 1000000: {tally.findings[:3]}"
    assert sum(tally.read.values()) > 20 and sum(tally.refused.values()) > 20


@pytest.mark.slow
def test_damaged_and_hostile_models_are_refused_by_name():
    cases = list(harness.spread(models.KINDS, 10 * len(models.KINDS), 1_000_000))
    tally = harness.campaign("tests.campaigns.models:attempt", cases, workers=1)
    assert not tally.findings, f"seeds from 1000000: {tally.findings[:3]}"
    assert sum(tally.refused.values()) > 20


@pytest.mark.parametrize("campaign", [manifests, language], ids=["manifests", "language"])
def test_damaged_texts_are_read_rightly_or_refused_by_name(campaign):
    cases = list(harness.spread(campaign.KINDS, 10 * len(campaign.KINDS), 1_000_000))
    tally = harness.campaign(f"{campaign.__name__}:attempt", cases, workers=1)
    assert not tally.findings, f"seeds from 1000000: {tally.findings[:3]}"
    assert sum(tally.read.values()) > 5 and sum(tally.refused.values()) > 20


def finds_nothing(campaign, *words):
    """Run a campaign that forks, in a process that has no threads."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.campaigns.{campaign}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and limits of Linux")


@_LINUX
@pytest.mark.parametrize("name", ["preparing", "downloading", pytest.param("training", marks=pytest.mark.slow)])
def test_a_program_that_is_killed_leaves_nothing_half_done_and_ends_as_if_it_had_not_been(name):
    finds_nothing("kill", "--count", "2", "--seed", "1000000", "--programs", name)


@_LINUX
@pytest.mark.parametrize("name", sorted(scarcity.SCARCITIES))
def test_too_little_of_anything_is_said_in_a_sentence(name):
    finds_nothing("scarcity", "--only", name)


@_LINUX
def test_long_inputs_take_no_more_memory_than_short_ones():
    finds_nothing("length", "--hours", "0.1", "--kinds", "wav", "flac", "pipe", "edf", "npz", "manifest")


def test_a_wrong_read_of_a_long_input_is_found(tmp_path):
    path = tmp_path / "a.wav"
    length.write_audio(path, "wav", 2)
    assert length.read_audio(path, "wav", 2) == "" and "samples" in length.read_audio(path, "wav", 3)
