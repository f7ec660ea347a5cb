"""Filters of sensors' signals: scipy's kernels, nothing shifted, and layers that say the same whatever the padding."""

import keras
import numpy as np
import pytest
import scipy.signal
from contracts import check_saved_model_is_the_same

from speechrnn.features import BandPass, Notch, RawSignal, RobustScale, filters

RATE = 250


@pytest.mark.parametrize(
    ("edges", "cutoff", "pass_zero"),
    [
        ({"low": 0.5, "high": 40}, [0.5, 40], False),
        ({"low": 5}, [5], False),
        ({"high": 30}, [30], True),
        ({"low": 8, "high": 12, "width": 3}, [8, 12], False),
    ],
)
def test_kernels_are_scipys(edges, cutoff, pass_zero):
    kernel = filters.pass_kernel(RATE, **edges)
    expected = scipy.signal.firwin(len(kernel), cutoff, pass_zero=pass_zero, fs=RATE)
    np.testing.assert_allclose(kernel, expected, atol=1e-12)


def gain(kernel, hertz):
    return abs(scipy.signal.freqz(kernel, worN=[hertz], fs=RATE)[1][0])


def test_a_band_passes_and_the_rest_does_not():
    kernel = filters.pass_kernel(RATE, low=0.5, high=40)
    assert gain(kernel, 10) == pytest.approx(1, abs=0.01)
    assert gain(kernel, 0.5) == pytest.approx(0.5, abs=0.02)
    assert gain(kernel, 0.1) < 0.01
    assert gain(kernel, 45) < 0.01


def test_a_notch_takes_the_hum_and_little_else():
    kernel = filters.notch_kernel(RATE, 50)
    assert gain(kernel, 50) < 0.01
    assert gain(kernel, 0) == pytest.approx(1)
    assert gain(kernel, 45) == pytest.approx(1, abs=0.01)
    assert gain(kernel, 55) == pytest.approx(1, abs=0.01)


def test_filtering_is_a_centered_convolution_with_held_ends(rng):
    signal = rng.normal(3, 1, (400, 2)).astype("float32")
    kernel = filters.pass_kernel(RATE, low=2, high=30)
    reach = len(kernel) // 2
    held = np.concatenate([np.repeat(signal[:1], reach, 0), signal, np.repeat(signal[-1:], reach, 0)])
    expected = [scipy.signal.convolve(column, kernel, "valid", "direct") for column in held.T]
    np.testing.assert_allclose(filters.apply_kernel(signal, kernel).T, expected, atol=1e-5)
    np.testing.assert_allclose(filters.apply_kernel(signal[:, 0], kernel), expected[0], atol=1e-5)


def test_an_offset_and_a_drift_go_and_the_beats_stay_where_they_are(rng):
    time = np.arange(20 * RATE) / RATE
    beats = np.zeros(len(time))
    beats[RATE // 2 :: RATE] = 1
    beats = np.convolve(beats, scipy.signal.windows.hann(15), "same")
    cleaned = filters.remove_baseline(5 + np.sin(2 * np.pi * 0.15 * time) + beats, RATE)
    middle = slice(3 * RATE, -3 * RATE)
    np.testing.assert_allclose(cleaned[middle], beats[middle] - beats.mean(), atol=0.06)
    assert abs(np.argmax(cleaned[10 * RATE : 11 * RATE]) - RATE // 2) <= 1
    assert np.abs(cleaned[: RATE // 4]).max() < 0.5  # no step at the edge, for all the offset of 5


def test_robust_scaling_is_that_of_scikit_learn_and_heeds_no_outlier(rng):
    from sklearn.preprocessing import RobustScaler

    signal = rng.normal([2, -30, 0], [0.1, 5, 0], (1000, 3)).astype("float32")
    signal[7, 0] = 1e6
    scaled = filters.robust_scale(signal)
    expected = RobustScaler(unit_variance=True).fit_transform(signal.astype("float64"))
    np.testing.assert_allclose(scaled[:, :2], expected[:, :2], rtol=1e-4, atol=1e-4)
    assert not scaled[:, 2].any()


LAYERS = [
    (BandPass(RATE, low=1, high=30), lambda x: filters.band_pass(x, RATE, low=1, high=30)),
    (BandPass(RATE, low=1), lambda x: filters.remove_baseline(x, RATE, cutoff=1)),
    (Notch(RATE, 60), lambda x: filters.remove_hum(x, RATE, 60)),
    (RobustScale(), filters.robust_scale),
]


@pytest.mark.parametrize(("layer", "function"), LAYERS)
@pytest.mark.parametrize("channels", [None, 2])
def test_a_layer_gives_what_its_function_gives_whatever_the_padding(layer, function, channels, rng):
    lengths = [600, 230, 1, 0]
    batch = np.full((4, 600, *([channels] if channels else [])), np.nan, "float32")
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = rng.normal(4, 2, row[:length].shape)
    found = layer(batch, np.array(lengths)).numpy()
    assert found.shape == batch.shape
    for row, got, length in zip(batch, found, lengths, strict=True):
        np.testing.assert_allclose(got[:length], function(row[:length]), atol=2e-4)
        assert not got[length:].any()
    np.testing.assert_allclose(layer(batch[:1]).numpy()[0], found[0], atol=1e-6)


def test_filters_are_kept_in_a_model(tmp_path, rng):
    signal = keras.Input((None, 2))
    model = keras.Model(signal, RobustScale()(Notch(RATE, 50)(BandPass(RATE, low=0.5, high=60)(signal))))
    check_saved_model_is_the_same(model, rng.normal(size=(2, 300, 2)).astype("float32"), tmp_path / "m.keras")


def test_features_filter_before_they_normalize(rng):
    signal = rng.normal(9, 2, (300, 2)).astype("float32")
    layer = RawSignal(RATE, window=1, hop=1, channels=2, filters=[BandPass(RATE, low=1, high=30), RobustScale()])
    expected = filters.robust_scale(filters.band_pass(signal, RATE, low=1, high=30))
    np.testing.assert_allclose(layer(signal[None])[0], expected, atol=2e-4)
    again = RawSignal.from_config(layer.get_config())
    np.testing.assert_array_equal(again(signal[None]), layer(signal[None]))
    adapted = RawSignal(RATE, window=1, hop=1, channels=2, normalize="global", filters=[BandPass(RATE, low=1)])
    adapted.adapt([signal])
    assert np.abs(adapted.mean.numpy()).max() < 0.5  # of what was filtered: 9 is gone


def test_filters_of_another_rate_or_kind_are_refused():
    with pytest.raises(ValueError, match="must be made for 100 Hz. Received"):
        RawSignal(100, filters=[BandPass(RATE, low=1)])
    with pytest.raises(ValueError, match="must be layers of speechrnn.features.filter_layers"):
        RawSignal(100, filters=[keras.layers.Identity()])


@pytest.mark.parametrize(
    "make",
    [
        lambda: filters.pass_kernel(100, low=40, high=30),
        lambda: filters.pass_kernel(100, low=1, high=50),
        lambda: filters.pass_kernel(100),
        lambda: BandPass(100, low=0, high=30),
        lambda: Notch(100, 60),
    ],
)
def test_a_band_that_cannot_be_is_said(make):
    with pytest.raises(ValueError, match="0 < low < high < 50 Hz, half the sampling rate. Received"):
        make()
