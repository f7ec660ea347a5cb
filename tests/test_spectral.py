"""Spectral functions against librosa, scipy and naive loops."""

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import signals
import soundfile
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from speechrnn.features import mel, spectral

RATE, WINDOW, HOP = 16000, 400, 160


@pytest.fixture(params=["noise", "tones", "vowels", "speech"])
def signal(request, rng):
    if request.param == "noise":
        return signals.noise(rng)
    if request.param == "tones":
        return signals.tones()
    if request.param == "vowels":
        return signals.vowels(rng)
    clips = sorted((request.getfixturevalue("data_dir") / "an4" / "wav" / "an4test_clstk").rglob("*.flac"))
    return soundfile.read(clips[0], dtype="float32")[0]


def naive_frame_count(num_samples, window, hop):
    count = 0
    while count * hop + window <= num_samples:
        count += 1
    return count


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(1, 500))
def test_frame_count_equals_a_naive_loop(num_samples, window, hop):
    expected = naive_frame_count(num_samples, window, hop)
    assert spectral.frame_count(num_samples, window=window, hop=hop) == expected
    assert spectral.frame_count(np.array([num_samples]), window=window, hop=hop) == [expected]
    assert spectral.frame_count(np.int64(num_samples), window=window, hop=hop) == expected


@pytest.mark.parametrize("num_samples", [0, 1, 399, 400, 559, 560, 16000])
def test_frame_count_of_a_tensor_equals_the_frames_there_are(num_samples):
    expected = naive_frame_count(num_samples, WINDOW, HOP)
    count = spectral.frame_count(tf.constant([num_samples]), window=WINDOW, hop=HOP)
    assert count.numpy() == [expected] and count.dtype == tf.int32
    assert spectral.frame(tf.zeros([2, num_samples]), window=WINDOW, hop=HOP).shape == (2, expected, WINDOW)


@pytest.mark.parametrize(("window", "hop"), [(400, 160), (7, 3), (3, 7), (1, 1), (256, 256)])
def test_frames_are_slices_of_the_signal(rng, window, hop):
    signal = signals.noise(rng, 1000)
    expected = np.lib.stride_tricks.sliding_window_view(signal, window)[::hop]
    np.testing.assert_array_equal(spectral.frame(signal, window=window, hop=hop), expected)


@pytest.mark.parametrize("window", [1, 2, 25, 400])
def test_hann_equals_scipy(window):
    np.testing.assert_allclose(spectral.hann(window), scipy.signal.get_window("hann", window), atol=1e-7)


def test_preemphasis_equals_scipy(signal):
    expected = scipy.signal.lfilter([1, -0.97], [1], signal.astype("float64"))
    np.testing.assert_allclose(spectral.preemphasis(signal, 0.97), expected, atol=1e-6)


@pytest.mark.parametrize("fft_length", [400, 512, 1024])
def test_power_spectrum_equals_librosa(signal, fft_length):
    power = spectral.power_spectrum(signal, window=WINDOW, hop=HOP, fft_length=fft_length).numpy()
    expected = librosa_power(signal, fft_length)
    assert power.shape == expected.shape
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-6 * expected.max())


def librosa_power(signal, fft_length):
    # librosa centers a window that is shorter than the transform; zeros on both sides give it our frames.
    before = (fft_length - WINDOW) // 2
    padded = np.pad(signal.astype("float64"), (before, fft_length - WINDOW - before))
    stft = librosa.stft(padded, n_fft=fft_length, hop_length=HOP, win_length=WINDOW, center=False)
    return np.abs(stft.T) ** 2


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(
    ("rate", "fft_length", "num_mels", "f_min", "f_max"),
    [(16000, 512, 80, 20.0, None), (8000, 256, 40, 0.0, 3800.0), (44100, 2048, 128, 50.0, 16000.0)],
)
def test_the_mel_filterbank_is_that_of_the_formula(rate, fft_length, num_mels, f_min, f_max, scale, norm):
    bank = spectral.mel_filterbank(
        rate, fft_length=fft_length, num_mels=num_mels, f_min=f_min, f_max=f_max, mel_scale=scale, mel_norm=norm
    )
    expected = signals.mel_triangles(rate, fft_length, num_mels, f_min=f_min, f_max=f_max, scale=scale, norm=norm)
    np.testing.assert_allclose(bank, expected, atol=1e-7)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
def test_log_mel_equals_librosa(signal, scale, norm):
    bank = spectral.mel_filterbank(RATE, fft_length=512, num_mels=80, f_min=20.0, mel_scale=scale, mel_norm=norm)
    ours = spectral.log_mel(signal, bank, window=WINDOW, hop=HOP).numpy()
    filters = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=80, fmin=20.0, htk=scale == "htk", norm=norm)
    power = librosa_power(signal, 512) @ filters.T.astype("float64")
    np.testing.assert_allclose(np.exp(ours), np.maximum(power, 1e-10), rtol=1e-3, atol=1e-7 * power.max())
    audible = power > 1e-5 * power.max(axis=-1, keepdims=True)
    np.testing.assert_allclose(ours[audible], np.log(np.maximum(power, 1e-10))[audible], atol=1e-3)


def test_silence_is_the_floor():
    bank = spectral.mel_filterbank(RATE, fft_length=512, num_mels=80)
    silent = spectral.log_mel(np.zeros(16000, "float32"), bank, window=WINDOW, hop=HOP)
    np.testing.assert_allclose(silent, np.log(spectral.FLOOR), rtol=1e-6)


def test_the_floor_lies_just_below_16_bit_rounding(rng):
    """What `FLOOR` promises: silence recorded with 16 bits is within a few dB of digital silence."""
    rounding = (rng.uniform(-0.5, 0.5, 16000) / 32768).astype("float32")
    bank = spectral.mel_filterbank(RATE, fft_length=512, num_mels=80)
    quiet = spectral.log_mel(rounding, bank, window=WINDOW, hop=HOP).numpy().mean()
    assert np.log(spectral.FLOOR) < quiet < np.log(spectral.FLOOR) + 2.0


@pytest.mark.parametrize("count", [1, 13, 40])
def test_mfcc_equals_scipy(signal, count):
    bank = spectral.mel_filterbank(RATE, fft_length=512, num_mels=40)
    energies = spectral.log_mel(signal, bank, window=WINDOW, hop=HOP)
    expected = scipy.fft.dct(energies.numpy().astype("float64"), type=2, norm="ortho")[..., :count]
    np.testing.assert_allclose(spectral.mfcc(energies, count), expected, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("width", [3, 5, 9])
def test_deltas_equal_librosa(rng, width):
    features = rng.standard_normal((3, 20, 4)).astype("float32")
    expected = librosa.feature.delta(features, width=width, axis=1, mode="nearest")
    np.testing.assert_allclose(spectral.deltas(features, width=width), expected, atol=1e-5)


def test_deltas_of_a_row_do_not_depend_on_its_padding(rng):
    features = rng.standard_normal((4, 30, 3)).astype("float32")
    frames = np.array([30, 17, 3, 1], "int32")
    padded = np.where(np.arange(30)[None, :, None] < frames[:, None, None], features, np.nan)
    batched = spectral.with_deltas(padded, frames, order=2).numpy()
    assert batched.shape == (4, 30, 9)
    for row, count in enumerate(frames):
        alone = spectral.with_deltas(features[row, :count], order=2).numpy()
        np.testing.assert_allclose(batched[row, :count], alone, atol=1e-6)


def test_utterance_normalization_uses_valid_frames_only(rng):
    features = (3.0 + 2.0 * rng.standard_normal((3, 40, 5))).astype("float32")
    frames = np.array([40, 11, 1], "int32")
    features[1, 11:] = 1e6
    normalized = spectral.normalize_utterance(features, frames).numpy()
    for row, count in enumerate(frames[:2]):
        part = features[row, :count].astype("float64")
        np.testing.assert_allclose(normalized[row, :count], (part - part.mean(0)) / part.std(0), atol=1e-4)
    np.testing.assert_array_equal(normalized[2, :1], 0.0)


def test_a_constant_feature_becomes_zero_and_not_noise():
    constant = np.full((1, 3001, 2), np.log(spectral.FLOOR), "float32")
    assert np.abs(spectral.normalize_utterance(constant)).max() < 1e-2


def test_masks_replace_nan_and_keep_the_rest(rng):
    signal = signals.noise(rng, 20).reshape(2, 10)
    padded = signal.copy()
    padded[1, 4:] = np.nan
    masked = spectral.mask_signal(padded, np.array([10, 4])).numpy()
    np.testing.assert_array_equal(masked[0], signal[0])
    np.testing.assert_array_equal(masked[1], np.r_[signal[1, :4], np.zeros(6)])


def test_dither_has_its_size_and_follows_its_seed():
    signal = np.zeros(50000, "float32")
    first, again, other = (spectral.dither(signal, 0.01, seed=(1, seed)).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    assert first.std() == pytest.approx(0.01, rel=0.02)


@given(st.floats(0.6, 1.6), st.sampled_from([8000, 16000]))
def test_warped_frequencies_rise_from_zero_to_nyquist(factor, rate):
    frequency = np.linspace(0, rate / 2, 501)
    warped = mel.warp_frequency(frequency, factor, sample_rate=rate)
    assert warped[0] == 0 and warped[-1] == pytest.approx(rate / 2)
    assert (np.diff(warped) > 0).all()
    low = frequency < 0.5 * rate / 2 * min(1, 1 / factor)
    np.testing.assert_allclose(warped[low], factor * frequency[low])


@pytest.mark.parametrize("factor", [0.88, 0.95, 1.05, 1.12])
def test_a_warped_filterbank_finds_a_scaled_tone_in_the_same_band(factor):
    """Bands whose centers are scaled by a factor see a tone scaled by it where plain bands see the plain tone."""
    time = np.arange(8000) / RATE
    banks = [signals.mel_triangles(RATE, 512, 80, factor=scale) for scale in (1.0, factor)]
    for frequency in (500.0, 1500.0, 3500.0):
        plain, scaled = (
            spectral.log_mel(np.sin(2 * np.pi * f * time).astype("float32"), bank, window=WINDOW, hop=HOP)[10]
            for f, bank in zip((frequency, frequency * factor), banks, strict=True)
        )
        assert abs(int(np.argmax(plain)) - int(np.argmax(scaled))) <= 1


def test_a_bad_factor_is_an_error():
    with pytest.raises(ValueError, match=r"`factor` must be positive. Received: 0"):
        mel.warp_frequency(100.0, 0, sample_rate=RATE)


def test_functions_are_equal_in_tf_data_and_with_any_leading_dimensions(signal):
    bank = spectral.mel_filterbank(RATE, fft_length=512, num_mels=80)

    def features(x):
        energies = spectral.log_mel(x, bank, window=WINDOW, hop=HOP)
        return spectral.normalize_utterance(spectral.with_deltas(energies, order=1))

    eager = features(signal)
    specification = tf.TensorSpec([None], tf.float32)
    mapped = tf.data.Dataset.from_generator(lambda: [signal], output_signature=specification).map(features)
    np.testing.assert_allclose(next(iter(mapped)), eager, atol=1e-4)
    np.testing.assert_allclose(features(signal[None, None])[0, 0], eager, atol=1e-4)
