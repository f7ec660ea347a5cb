"""Augmentation: what each variation promises, and that seeds decide everything."""

import dataclasses
import json
import subprocess
import sys

import librosa
import numpy as np
import pytest
import scipy.signal
import signals
import soundfile
import tensorflow as tf

from speechrnn.features import LogMel, LogSpectrogram, augment, perturb
from speechrnn.features.augment import Augmentation
from speechrnn.pipeline.graph import warp_matrices

RATE = 16000


def test_options_are_off_by_default(rng):
    signal = signals.noise(rng, 1000)
    features = rng.standard_normal((50, 80)).astype("float32")
    nothing = Augmentation()
    assert not nothing.changes_signal and not nothing.changes_features
    np.testing.assert_array_equal(augment.augment_signal(signal, RATE, nothing, rng), signal)
    np.testing.assert_array_equal(augment.augment_features(features, nothing, [1, 2]), features)


def test_options_survive_json():
    options = Augmentation.speech(noise_folder="noise", gain=(-6, 6))
    assert Augmentation(**json.loads(json.dumps(dataclasses.asdict(options)))) == options
    assert options.speed == (0.9, 1.1) and options.changes_signal and options.changes_features


def test_options_can_be_listed_without_tensorflow():
    code = "import sys, speechrnn.features.augment; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": (1.1, 0.9)}, r"`speed` must be a low and a high end. Received: speed=\(1.1, 0.9\)"),
        ({"speed": 1.1}, "`speed` must be a low and a high end. Received: speed=1.1"),
        ({"speed": (0.0, 1.0)}, "`speed` must be in 0.25 to 4"),
        ({"noise_snr": (5,)}, "`noise_snr` must be a low and a high end"),
        ({"reverberation": (0.1, 9)}, "`reverberation` must be in 0.01 to 5. Received: reverberation="),
        ({"noise_probability": 1.5}, "`noise_probability` must be in 0 to 1. Received: noise_probability=1.5"),
        ({"frequency_scale": 0.9}, "`frequency_scale` must be in 0 to 0.5"),
        ({"frequency_axis": "bark"}, "`frequency_axis` must be"),
        ({"time_masks": -1}, "`time_masks` must be 0 or more"),
        ({"time_mask_fraction": 2.0}, "`time_mask_fraction` must be in 0 to 1"),
    ],
)
def test_bad_options_say_what_is_required(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


# Signals


@pytest.mark.parametrize("factor", [0.9, 0.937, 1.0, 1.1])
def test_speed_moves_a_tone_and_the_length(factor):
    signal = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype("float32")
    changed = perturb.change_speed(signal, factor)
    assert len(changed) == round(len(signal) / factor) and changed.dtype == np.float32
    expected = np.sin(2 * np.pi * 1000 * factor * np.arange(len(changed)) / RATE)
    np.testing.assert_allclose(changed[200:-200], expected[200:-200], atol=5e-3)


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_short_signals_survive_everything(rng, size):
    signal = signals.noise(rng, size)
    assert len(perturb.change_speed(signal, 0.9)) == round(size / 0.9)
    assert len(perturb.reverberate(signal, signals.noise(rng, 50))) == size
    assert len(perturb.add_noise(signal, signals.noise(rng, 50), snr_db=10)) == size


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("noise_size", [700, 16000, 40000])
def test_noise_has_the_ratio_that_was_asked_for(rng, snr_db, noise_size):
    signal, noise = signals.vowels(rng, size=16000), signals.noise(rng, noise_size)
    added = perturb.add_noise(signal, noise, snr_db=snr_db) - signal
    assert 10 * np.log10(np.mean(signal**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.01)
    shorter = min(noise_size, 16000)
    assert np.corrcoef(added[:shorter], noise[:shorter])[0, 1] > 0.999


def test_silence_has_no_ratio_and_stays(rng):
    signal, silence = signals.noise(rng), np.zeros(16000, "float32")
    np.testing.assert_array_equal(perturb.add_noise(silence, signal, snr_db=10), silence)
    np.testing.assert_array_equal(perturb.add_noise(signal, silence, snr_db=10), signal)
    np.testing.assert_array_equal(perturb.reverberate(silence, signal[:100]), silence)
    np.testing.assert_array_equal(perturb.reverberate(signal, silence[:100]), signal)


def test_reverberation_equals_scipy_and_keeps_time_and_energy(rng):
    signal = signals.vowels(rng)
    rir = np.exp(-np.arange(4000) / 800) * rng.standard_normal(4000) * 0.2
    rir[:37] = 0
    rir[37] = -1.0
    wet = perturb.reverberate(signal, rir.astype("float32"))
    expected = scipy.signal.fftconvolve(signal.astype("float64"), rir)[37 : 37 + len(signal)]
    expected *= np.sqrt(np.sum(signal.astype("float64") ** 2) / np.sum(expected**2))
    np.testing.assert_allclose(wet, expected, atol=1e-5)
    assert np.sum(wet**2) == pytest.approx(np.sum(signal**2), rel=1e-4)
    impulse = np.r_[np.zeros(50), 0.3].astype("float32")
    np.testing.assert_allclose(perturb.reverberate(signal, impulse), signal, atol=1e-5)


def test_a_simulated_room_has_its_reverberation_time_and_its_direct_sound(rng):
    for seconds, ratio in ((0.2, 0.0), (0.6, 12.0)):
        room = perturb.simulated_room(RATE, seconds, ratio, rng).astype("float64")
        assert room[0] == 1.0 and np.abs(room).argmax() == 0
        assert -10 * np.log10(np.sum(room[1:] ** 2)) == pytest.approx(ratio, abs=1e-4)
        left = 10 * np.log10(np.cumsum(room[1:][::-1] ** 2)[::-1] / np.sum(room[1:] ** 2))  # Schroeder, 1965
        times = np.arange(len(left)) / RATE
        within = (left < -5) & (left > -25)
        slope = np.polyfit(times[within], left[within], 1)[0]
        assert -60 / slope == pytest.approx(seconds, rel=0.1)


@pytest.fixture
def folders(tmp_path, rng):
    (tmp_path / "noise" / "deep").mkdir(parents=True)
    (tmp_path / "rir").mkdir()
    soundfile.write(tmp_path / "noise" / "a.wav", signals.noise(rng, 4000), 8000)
    soundfile.write(tmp_path / "noise" / "deep" / "b.flac", np.stack([signals.tones(), signals.tones()], 1), RATE)
    soundfile.write(tmp_path / "rir" / "room.wav", np.r_[0.5, np.zeros(99), 0.2], RATE)
    return Augmentation(
        speed=(0.9, 1.1),
        gain=(-3, 3),
        noise_folder=str(tmp_path / "noise"),
        rir_folder=str(tmp_path / "rir"),
    )


def test_a_seed_an_epoch_and_an_id_decide_the_signal(rng, folders):
    signal = signals.vowels(rng)

    def varied(*key):
        return augment.augment_signal(signal, RATE, folders, augment.example_rng(*key))

    first = varied(1, 0, "utterance")
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, varied(1, 0, "utterance"))
    for other in (varied(2, 0, "utterance"), varied(1, 1, "utterance"), varied(1, 0, "another")):
        assert len(other) != len(first) or np.abs(other - first).max() > 0


def test_noise_and_rooms_come_from_the_folders(rng, folders):
    signal = signals.vowels(rng)
    noisy = dataclasses.replace(folders, speed=None, gain=None, rir_folder=None, noise_probability=1.0)
    added = [augment.augment_signal(signal, RATE, noisy, np.random.default_rng(i)) - signal for i in range(8)]
    ratios = [10 * np.log10(np.mean(signal**2) / np.mean(part**2)) for part in added]
    assert all(4.9 < ratio < 25.1 for ratio in ratios) and np.ptp(ratios) > 1
    reverberant = dataclasses.replace(noisy, noise_folder=None, rir_folder=folders.rir_folder, rir_probability=1.0)
    wet = augment.augment_signal(signal, RATE, reverberant, rng)
    rir = np.r_[0.5, np.zeros(99), 0.2].astype("float32")
    np.testing.assert_allclose(wet, perturb.reverberate(signal, rir), atol=1e-4)
    simulated = dataclasses.replace(reverberant, rir_folder=None, reverberation=(0.1, 0.6))
    assert simulated.changes_signal
    changed = augment.augment_signal(signal, RATE, simulated, rng)
    assert changed.shape == signal.shape and np.sum(changed**2) == pytest.approx(np.sum(signal**2), rel=1e-4)
    assert np.abs(changed - signal).max() > 0.01
    both = dataclasses.replace(simulated, rir_folder=folders.rir_folder)
    from_folder = [np.allclose(augment.augment_signal(signal, RATE, both, rng), wet, atol=1e-4) for _ in range(16)]
    assert 0 < sum(from_folder) < 16
    never = dataclasses.replace(noisy, noise_probability=0.0)
    np.testing.assert_array_equal(augment.augment_signal(signal, RATE, never, rng), signal)


def test_a_folder_without_recordings_is_an_error(tmp_path, rng):
    for folder, found in ((tmp_path, "none"), (tmp_path / "absent", "no such folder")):
        options = Augmentation(noise_folder=str(folder), noise_probability=1.0)
        with pytest.raises(ValueError, match=f"{folder}: an augmentation folder must hold recordings .* {found}"):
            augment.augment_signal(np.zeros(100, "float32"), RATE, options, rng)


# Features


def test_masks_lie_in_the_valid_frames_and_are_never_too_wide(rng):
    features = 1.0 + np.abs(rng.standard_normal((200, 60, 30))).astype("float32")
    frames = rng.integers(1, 61, 200).astype("int32")
    options = {"time_masks": 1, "time_mask_frames": 10, "time_mask_fraction": 0.25}
    masked = augment.spec_augment(features, frames, seed=[1, 2], frequency_masks=0, **options).numpy() == 0
    assert (masked.all(axis=2) == masked.any(axis=2)).all()
    for row, count in zip(masked[:, :, 0], frames, strict=True):
        assert not row[count:].any()
        assert row.sum() <= min(10, 0.25 * count)
        assert np.abs(np.diff(np.r_[0, row, 0])).sum() in (0, 2)
    widths = masked[:, :, 0].sum(1)[frames >= 40]
    assert widths.min() <= 1 and widths.max() >= 9
    assert len(np.unique(masked[:, :, 0].argmax(1))) > 15


def test_frequency_masks_cover_whole_bands(rng):
    features = 1.0 + np.abs(rng.standard_normal((300, 12, 30))).astype("float32")
    masked = augment.spec_augment(features, seed=[3, 4], time_masks=0, frequency_masks=2, frequency_mask_bins=6)
    masked = masked.numpy() == 0
    assert (masked.all(axis=1) == masked.any(axis=1)).all()
    widths = masked[:, 0].sum(1)
    assert widths.max() <= 12 and widths.max() >= 10 and 5 < widths.mean() < 6.5
    touched = masked[:, 0].mean(0)
    assert (touched > 0.02).all()


def test_a_mask_may_be_wider_than_the_bands_there_are(rng):
    features = np.ones((40, 5), "float32")
    for seed in range(20):
        masked = augment.spec_augment(features, seed=[0, seed], time_masks=0, frequency_mask_bins=99).numpy()
        assert set(np.unique(masked)) <= {0.0, 1.0}


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_few_frames_are_no_problem(frames):
    features = np.ones((frames, 80), "float32")
    assert augment.augment_features(features, Augmentation.speech(), [1, 2]).shape == (frames, 80)


def test_the_same_seed_gives_the_same_features_in_tf_data(rng):
    features = rng.standard_normal((70, 80)).astype("float32")
    options = Augmentation.speech()
    seeds = np.stack([augment.tensor_seed(augment.example_rng(0, epoch, "a")) for epoch in (0, 0, 1)])
    assert seeds.shape == (3, 2) and seeds.dtype == np.int32
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment.augment_features(tf.ensure_shape(features, [None, 80]), options, seed)
    )
    first, again, other = (item.numpy() for item in dataset)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    np.testing.assert_allclose(first, augment.augment_features(features, options, seeds[0]), atol=1e-5)


def test_feature_noise_has_its_size():
    features = np.zeros((1000, 80), "float32")
    noisy = augment.augment_features(features, Augmentation(feature_noise=0.3), [1, 2]).numpy()
    assert noisy.std() == pytest.approx(0.3, rel=0.02) and abs(noisy.mean()) < 0.01


@pytest.mark.parametrize("axis", ["mel", "hertz"])
def test_frequency_scaling_moves_a_peak_by_the_factors_there_are(axis):
    layer = LogMel(RATE)
    options = Augmentation(frequency_scale=0.12, frequency_axis=axis)
    warp = layer.frequency_warp(augment.warp_factors(options))
    bump = np.exp(-0.5 * ((np.arange(80) - 40) / 4) ** 2).astype("float32")[None]
    peaks = [int(np.argmax(augment.augment_features(bump, options, [0, seed], warp=warp))) for seed in range(100)]
    # Bands read at 1.12 times their place find the bump at 40 / 1.12. In Hz the scale is a shift of log(1.12) there.
    low, high = {"mel": (35.6, 45.6), "hertz": (37.0, 43.1)}[axis]
    assert min(peaks) == pytest.approx(low, abs=1) and max(peaks) == pytest.approx(high, abs=1)
    assert 39 <= np.mean(peaks) <= 42


def test_channels_side_by_side_are_not_scaled_as_one_spectrum():
    options = Augmentation(frequency_scale=0.1)
    channels = LogSpectrogram(100, window=50, hop=25, channels=2)
    with pytest.raises(ValueError, match="2 channels"):
        warp_matrices(channels, options)
    assert warp_matrices(channels, Augmentation(time_masks=1)) is None
    assert warp_matrices(LogSpectrogram(100, window=50, hop=25), options) is None


def test_scaling_in_hertz_needs_the_bands(rng):
    options = Augmentation(frequency_scale=0.1, frequency_axis="hertz")
    with pytest.raises(ValueError, match=r"Pass warp=layer\.frequency_warp"):
        augment.augment_features(np.zeros((5, 80), "float32"), options, [1, 2])


def test_scaling_the_mel_axis_is_nearly_a_narrower_filterbank(rng):
    """Reading band `i` at `0.9 i` is what the same number of bands up to 0.9 of the highest mel measures."""
    signal = signals.vowels(rng) + 0.02 * signals.noise(rng, 24000)
    options = Augmentation(frequency_scale=0.1)
    plain = LogMel(RATE, normalize=None, f_min=0.0)(signal).numpy()
    scaled = plain @ augment._band_warp(options, 80)[0]
    top = librosa.mel_to_hz(0.9 * librosa.hz_to_mel(8000.0))
    exact = LogMel(RATE, normalize=None, f_min=0.0, f_max=float(top))(signal).numpy()
    assert np.std(scaled - exact) < 0.4 * np.std(plain - exact)
