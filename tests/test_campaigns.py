"""Campaigns find what they are there to find, and damaged files are read rightly or refused by name."""

import sys

import numpy as np
import pytest

from tests.campaigns import audio, harness, models, records


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
