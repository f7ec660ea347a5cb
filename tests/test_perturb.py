"""Augmentation of sensors' signals: each change does what it says, and nothing else."""

import numpy as np
import pytest

from speechrnn.features import perturb
from speechrnn.features.augment import Augmentation, augment_signal


@pytest.fixture
def signal(rng):
    return (rng.normal(size=(500, 3)) * [1, 10, 0.1] + [0, 5, 9.8]).astype("float32")


def test_jitter_is_a_share_of_each_channels_deviation(signal, rng):
    added = perturb.jitter(signal, 0.1, rng) - signal
    np.testing.assert_allclose(added.std(0), 0.1 * signal.std(0), rtol=0.15)


def test_heights_change_by_one_factor_a_channel(signal, rng):
    factors = perturb.scale_channels(signal, 0.2, rng) / signal
    np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-5)
    assert (abs(factors[0] - 1) <= 0.2).all()
    assert len(set(factors[0].round(4))) == 3


def test_a_wander_is_slow_and_no_higher_than_it_says(signal, rng):
    added = perturb.wander(np.tile(signal, (8, 1)), 50, 0.3, rng) - np.tile(signal, (8, 1))
    assert (np.abs(added).max(0) <= 0.3 * signal.std(0) * 1.02).all()
    power = np.abs(np.fft.rfft(added - added.mean(0), axis=0)) ** 2
    slow = np.fft.rfftfreq(len(added), 1 / 50) <= 0.6
    assert (power[slow].sum(0) / power.sum(0) > 0.95).all()


def test_a_warp_keeps_length_ends_and_order(rng):
    ramp = np.linspace(0, 1, 400, dtype="float32")[:, None] * [1, -2]
    warped = perturb.time_warp(ramp.astype("float32"), 0.3, rng)
    np.testing.assert_allclose(warped[[0, -1]], ramp[[0, -1]], atol=1e-6)
    steps = np.diff(warped[:, 0]) / np.diff(ramp[:, 0])
    assert steps.min() > 0.7 / 1.3
    assert steps.max() < 1.3 / 0.7
    assert steps.std() > 0.01
    np.testing.assert_allclose(warped[:, 1], -2 * warped[:, 0], atol=1e-5)  # channels stay together


def test_a_crop_is_a_stretch_of_the_signal(signal, rng):
    places = set()
    for _ in range(20):
        part = perturb.crop(signal, 0.5, rng)
        start = int(np.flatnonzero((signal == part[0]).all(1))[0])
        np.testing.assert_array_equal(part, signal[start : start + 250])
        places.add(start)
    assert len(places) > 10


def test_leads_drop_as_often_as_they_say_and_one_is_kept(signal, rng):
    kept = np.array([perturb.drop_leads(signal, 0.3, rng).any(0) for _ in range(400)])
    assert kept.mean() == pytest.approx(0.7 + 0.3**3 / 3, abs=0.05)
    assert np.array([perturb.drop_leads(signal, 1.0, rng).any(0) for _ in range(50)]).sum(1).tolist() == [1] * 50
    np.testing.assert_array_equal(perturb.drop_leads(signal[:, 0], 1.0, rng), signal[:, 0])


def test_speed_noise_and_room_take_channels(signal, rng):
    rir = np.array([0, 1, 0.5], "float32")
    for change in (lambda s: perturb.change_speed(s, 1.25), lambda s: perturb.reverberate(s, rir)):
        one = change(signal)
        assert one.shape[1] == 3
        alone = change(signal[:, 1])
        np.testing.assert_allclose(one[:, 1] / np.linalg.norm(one[:, 1]), alone / np.linalg.norm(alone), atol=1e-3)
    noisy = perturb.add_noise(signal, rng.normal(size=500).astype("float32"), snr_db=10)
    added = noisy - signal
    assert 10 * np.log10(np.mean(signal**2) / np.mean(added**2)) == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("channels", [None, 4])
def test_the_same_seed_gives_the_same_signal(channels, rng):
    signal = rng.normal(size=(300, channels) if channels else 300).astype("float32")
    options = Augmentation.sensor(crop=0.7, lead_drop=0.2)
    first, second = (augment_signal(signal, 100, options, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert first.ndim == signal.ndim
    assert 210 <= len(first) < 300
    assert not np.array_equal(first, augment_signal(signal, 100, options, np.random.default_rng(5)))


def test_half_of_the_signals_are_upside_down(signal):
    drawn = [augment_signal(signal, 100, Augmentation(flip=0.5), np.random.default_rng(seed)) for seed in range(100)]
    signs = [1 if np.array_equal(one, signal) else -1 for one in drawn]
    for sign, one in zip(signs, drawn, strict=True):
        np.testing.assert_array_equal(sign * signal, one)  # all channels alike
    assert 30 < signs.count(-1) < 70


@pytest.mark.parametrize("size", [0, 1, 2])
def test_short_signals_survive(size, rng):
    signal = np.ones((size, 2), "float32")
    assert augment_signal(signal, 100, Augmentation.sensor(crop=0.5), rng).shape[1] == 2


def test_options_know_what_they_change():
    assert not Augmentation().changes_signal
    for name in ("jitter", "scaling", "wander", "time_warp", "lead_drop", "flip", "crop"):
        assert Augmentation(**{name: 0.5}).changes_signal
        assert Augmentation(**{name: 0.5}).moves_samples == (name in ("time_warp", "crop"))
    assert not Augmentation(speed=(0.9, 1.1)).moves_samples  # labels follow it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 0.0}, "`crop` must be in 0 to 1, without 0. Received: crop=0.0"),
        ({"time_warp": 1.0}, "`time_warp` must be in 0 to 1, without 1"),
        ({"lead_drop": 1.1}, "`lead_drop` must be in 0 to 1"),
        ({"flip": -0.5}, "`flip` must be in 0 to 1"),
        ({"jitter": -1.0}, "`jitter` must be 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
