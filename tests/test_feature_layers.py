"""Feature layers: one definition, equal everywhere, and never disturbed by padding."""

import inspect

import keras
import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import signals
import tensorflow as tf

from speechrnn.features import MFCC, BandPass, LogMel, LogSpectrogram, RawSignal, RobustScale, invert, spectral

RATE = 16000
LAYERS = {
    "logmel": lambda: LogMel(RATE),
    "logmel everything": lambda: LogMel(
        8000, window=250, hop=90, fft_length=300, num_mels=20, f_min=50.0, f_max=3500.0, mel_scale="htk", mel_norm=None,
        floor=1e-8, preemphasis=0.9, dither=0.001, deltas=2, delta_width=5, normalize=None, seed=7, name="front",
    ),
    "logmel global": lambda: adapted(LogMel(RATE, num_mels=40, normalize="global")),
    "mfcc": lambda: MFCC(RATE, deltas=2),
    "mfcc raw": lambda: MFCC(RATE, num_coefficients=20, normalize=None),
    "raw": lambda: RawSignal(RATE),
    "raw samples": lambda: RawSignal(RATE, window=1, hop=1, normalize="utterance"),
    "raw filtered": lambda: RawSignal(RATE, window=64, hop=80, filters=[BandPass(RATE, low=100), RobustScale()]),
    "raw global": lambda: adapted(RawSignal(RATE, window=64, hop=80, normalize="global")),
    "spectrogram": lambda: LogSpectrogram(RATE, window=400, hop=160),
    "spectrogram everything": lambda: LogSpectrogram(
        8000, window=250, hop=90, fft_length=300, f_min=50.0, f_max=3500.0, floor=1e-8, normalize=None, name="front",
        filters=[BandPass(8000, low=100)],
    ),
    "spectrogram global": lambda: adapted(LogSpectrogram(RATE, window=128, hop=80, normalize="global")),
}  # fmt: skip


def adapted(layer):
    layer.adapt([signals.noise(np.random.default_rng(3), 4000)])
    return layer


@pytest.fixture(params=LAYERS, ids=lambda name: name.replace(" ", "-"))
def layer(request):
    return LAYERS[request.param]()


@pytest.fixture
def batch(rng):
    """Speech-like rows of different lengths, padded with NaN; the last is too short for a frame of most layers."""
    length = np.array([12000, 7001, 640, 200], "int32")
    padded = np.full((4, 12000), np.nan, "float32")
    for row, size in enumerate(length):
        padded[row, :size] = signals.vowels(rng, size=24000)[:size] + 0.001 * signals.noise(rng, size)
    return padded, length


def test_one_row_alone_equals_the_row_in_a_batch_padded_with_nan(layer, batch):
    padded, length = batch
    batched = layer(padded, length).numpy()
    assert batched.shape == (4, layer.frame_count(12000), layer.num_features)
    assert np.isfinite(batched).all()
    for row, size in enumerate(length):
        frames = layer.frame_count(int(size))
        alone = layer(padded[row : row + 1, :size]).numpy()[0]
        np.testing.assert_allclose(batched[row, :frames], alone, rtol=1e-4, atol=2e-4)
        np.testing.assert_array_equal(batched[row, frames:], 0.0)


def assert_same(found, expected, layer, *, rtol=1e-7, atol=1e-5):
    """Equal but for rounding, which depends on the processor's kernels.

    The filtered spectrogram is compared by its amplitudes: next to a loud band, what a filter leaves of another is
    rounding, and its logarithm moves by a hundredth.
    """
    found = np.asarray(found)
    if layer.name == "front" and isinstance(layer, LogSpectrogram):
        found, expected = np.exp(found / 2), np.exp(expected / 2)
        atol = 1e-6 * expected.max()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras under NumPy 2, when it saves
def test_eager_tf_data_and_saved_model_are_equal(layer, batch, tmp_path):
    padded, length = batch
    expected = layer(padded, length).numpy()
    rows = tf.data.Dataset.from_tensor_slices((padded, length)).batch(4).map(layer)
    assert_same(next(iter(rows)), expected, layer)
    one = tf.data.Dataset.from_tensors((padded[1], length[1])).map(layer)
    assert_same(next(iter(one)), expected[1], layer, rtol=1e-4, atol=2e-4)

    inputs = keras.Input((None,)), keras.Input((), dtype="int32")
    model = keras.Model(inputs, layer(*inputs))
    assert model.output.shape == (None, None, layer.num_features)
    model.save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    assert_same(loaded.predict_on_batch([padded, length]), expected, layer)


def test_config_holds_every_argument_and_survives(layer, batch):
    config = layer.get_config()
    arguments = [
        name
        for base in type(layer).__mro__
        if base.__module__.startswith("speechrnn.features")
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]
    for name in arguments:
        value = getattr(layer, name)
        assert config[name] == ([keras.saving.serialize_keras_object(f) for f in value] if name == "filters" else value)
    again = type(layer).from_config(config)
    assert again.get_config() == config and again.name == layer.name
    if layer.normalize != "global":
        np.testing.assert_array_equal(again(*batch), layer(*batch))


@pytest.mark.parametrize("samples", [0, 1, 63, 399, 400, 16000])
def test_the_shape_is_known_before_the_values(layer, samples):
    signal = np.zeros((2, samples), "float32")
    shape = (2, layer.frame_count(samples), layer.num_features)
    assert layer(signal).shape == shape
    assert layer.compute_output_shape((2, samples)) == shape
    assert layer(keras.Input(batch_shape=(2, samples))).shape == shape
    assert tf.function(layer).get_concrete_function(tf.TensorSpec((2, samples))).output_shapes == shape


def test_features_are_float32_under_a_float16_policy(layer, batch):
    expected = layer(*batch).numpy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = type(layer).from_config({key: value for key, value in layer.get_config().items() if key != "dtype"})
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(layer.get_weights())
    assert half(*batch).dtype == tf.float32 and half.compute_dtype == "float32"
    np.testing.assert_array_equal(half(*batch), expected)


def test_digital_silence_is_finite_and_so_is_its_gradient(layer):
    signal = tf.Variable(tf.zeros([2, 8000]))
    with tf.GradientTape() as tape:
        features = layer(signal, tf.constant([8000, 5000]))
        loss = tf.reduce_sum(tf.square(features))
    assert np.isfinite(features).all()
    assert np.isfinite(tape.gradient(loss, signal)).all()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_default_is_25_ms_every_10_ms(rate):
    layer = LogMel(rate)
    assert layer.window == round(0.025 * rate)
    assert layer.frame_period == pytest.approx(0.010)
    assert layer(np.zeros((1, rate), "float32")).shape == (1, 98, 80)


def test_logmel_equals_librosa(rng):
    signal = signals.vowels(rng) + 0.01 * signals.noise(rng, 24000)
    ours = LogMel(RATE, normalize=None)(signal).numpy()
    power = librosa.feature.melspectrogram(
        y=np.pad(signal, 56), sr=RATE, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=80, fmin=20.0
    )
    np.testing.assert_allclose(ours, np.log(np.maximum(power.T, 1e-10)), atol=2e-3)
    normalized = (ours - ours.mean(0)) / ours.std(0)
    np.testing.assert_allclose(LogMel(RATE)(signal), normalized, atol=1e-3)


def test_mfcc_equals_scipy(rng):
    signal = signals.noise(rng)
    energies = LogMel(RATE, num_mels=40, normalize=None)(signal).numpy()
    expected = scipy.fft.dct(energies, norm="ortho")[:, :13]
    np.testing.assert_allclose(MFCC(RATE, normalize=None)(signal), expected, atol=1e-3)


def test_raw_signal_cuts_channels_side_by_side(rng):
    signal = rng.standard_normal((2, 50, 3)).astype("float32")
    frames = RawSignal(100, window=10, hop=5, channels=3)(signal, np.array([50, 23])).numpy()
    assert frames.shape == (2, 9, 30)
    np.testing.assert_array_equal(frames[0, 2].reshape(10, 3), signal[0, 10:20])
    np.testing.assert_array_equal(frames[1, 3:], 0.0)
    samples = RawSignal(100, window=1, hop=1, channels=3, normalize="utterance")(signal).numpy()
    np.testing.assert_allclose(
        samples, (signal - signal.mean(1, keepdims=True)) / signal.std(1, keepdims=True), atol=1e-5
    )


@pytest.mark.parametrize(("window", "fft_length"), [(100, None), (75, 90)])
def test_log_spectrogram_equals_scipy_channel_by_channel(rng, window, fft_length):
    signal = rng.normal(size=(2, 700, 3)).astype("float32")
    layer = LogSpectrogram(
        100, window=window, hop=30, fft_length=fft_length, channels=3, f_min=2, f_max=40, normalize=None
    )
    found = layer(signal, np.array([700, 333])).numpy()
    for row, length, got in zip(signal, (700, 333), found, strict=True):
        frequencies, _, density = scipy.signal.spectrogram(
            row[:length].T.astype(float), 100, "hann", window, window - 30, fft_length or 128, detrend=False,
            scaling="spectrum", mode="complex",
        )  # fmt: skip
        kept = density[:, (frequencies >= 2) & (frequencies <= 40)] * scipy.signal.get_window("hann", window).sum()
        expected = np.log(np.abs(kept) ** 2).transpose(2, 0, 1).reshape(kept.shape[2], -1)
        assert len(expected) == layer.frame_count(length)
        np.testing.assert_allclose(got[: len(expected)], expected, atol=2e-3)
        assert not got[len(expected) :].any()


def test_adapt_measures_each_frequency_of_each_channel(rng):
    signal = rng.normal(size=(900, 2)).astype("float32") * [1, 30] + [0, 7]
    sizes = {"window": 50, "hop": 10, "channels": 2, "f_min": 4.0}
    layer, plain = (LogSpectrogram(100, normalize=how, **sizes) for how in ("global", None))
    layer.adapt([signal[:400], signal[400:]])
    expected = np.concatenate([plain(part).numpy() for part in (signal[:400], signal[400:])]).astype("float64")
    np.testing.assert_allclose(layer.mean, expected.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.std, expected.std(0), rtol=1e-4)
    np.testing.assert_allclose(layer.mean[-30:] - layer.mean[:30], np.full(30, 2 * np.log(30)), atol=1)


@pytest.mark.parametrize("form", ["signals", "padded batches", "dataset with targets"])
def test_adapt_measures_all_valid_frames(rng, form):
    rows = [signals.noise(rng, 3000), 0.1 * signals.noise(rng, 5000)]
    padded = np.full((2, 5000), np.nan, "float32")
    padded[0, :3000], padded[1] = rows
    batch = {"signal": padded, "length": np.array([3000, 5000])}
    data = {
        "signals": rows,
        "padded batches": [batch],
        "dataset with targets": tf.data.Dataset.from_tensors((batch, 1)),
    }[form]
    layer = LogMel(RATE, normalize="global")
    layer.adapt(data)
    raw = LogMel(RATE, normalize=None)
    frames = np.concatenate([raw(row).numpy() for row in rows]).astype("float64")
    np.testing.assert_allclose(layer.mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.std, frames.std(0), rtol=1e-4)
    np.testing.assert_allclose(layer(rows[0]), (raw(rows[0]) - frames.mean(0)) / frames.std(0), atol=1e-3)
    assert not layer.trainable_weights


def test_global_statistics_must_be_measured_first():
    layer = LogMel(RATE, normalize="global")
    signal = np.zeros((1, 800), "float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"call `adapt\(signals\)` first"):
        layer(signal)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"call `adapt\(signals\)` first"):
        next(iter(tf.data.Dataset.from_tensors(signal).map(layer)))
    with pytest.raises(ValueError, match="at least one whole frame"):
        layer.adapt([np.zeros(10, "float32")])
    with pytest.raises(ValueError, match='`adapt` needs normalize="global"'):
        LogMel(RATE).adapt([signal])


def test_dither_is_for_training_only_and_repeats_with_its_seed():
    signal = np.zeros((1, 8000), "float32")
    first, again, other = (LogMel(RATE, dither=1e-3, normalize=None, seed=seed) for seed in (1, 1, 2))
    clean = first(signal).numpy()
    np.testing.assert_allclose(clean, np.log(spectral.FLOOR), rtol=1e-5)
    noisy = first(signal, training=True).numpy()
    assert (noisy > clean + 1).all()
    np.testing.assert_array_equal(noisy, again(signal, training=True))
    assert np.abs(noisy - other(signal, training=True)).max() > 0
    assert np.abs(noisy - first(signal, training=True)).max() > 0


def test_dither_works_in_tf_data():
    layer = LogMel(RATE, dither=1e-3, normalize=None)
    rows = tf.data.Dataset.from_tensors(np.zeros(8000, "float32")).repeat(2).map(lambda x: layer(x, training=True))
    one, two = rows
    assert np.abs(one - two).max() > 0


@pytest.mark.parametrize("factor", [0.88, 0.94, 1.06, 1.12])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_scaling_computed_features_is_nearly_a_warped_filterbank(rng, factor, scale):
    """The error is a small part of what the scaling changes, before and after normalization."""
    signal = signals.vowels(rng) + 0.02 * signals.noise(rng, 24000)
    layer = LogMel(RATE, mel_scale=scale, normalize=None)
    plain = layer(signal).numpy()
    bank = signals.mel_triangles(RATE, 512, 80, f_min=20.0, scale=scale, factor=factor)
    exact = spectral.log_mel(signal, bank, window=400, hop=160).numpy()
    scaled = plain @ layer.frequency_warp([factor])[0]
    for normalize in (lambda x: x, lambda x: (x - x.mean(0)) / x.std(0)):
        change = np.std(normalize(plain) - normalize(exact))
        error = np.std(normalize(scaled) - normalize(exact))
        assert error < 0.5 * change


def test_frequency_warp_of_one_changes_nothing_and_covers_deltas_and_cepstra(rng):
    np.testing.assert_allclose(LogMel(RATE).frequency_warp([1.0])[0], np.eye(80), atol=1e-5)
    np.testing.assert_allclose(MFCC(RATE).frequency_warp([1.0])[0], np.eye(13), atol=1e-5)
    signal = signals.vowels(rng)
    plain, with_deltas = (LogMel(RATE, deltas=deltas, normalize=None) for deltas in (0, 1))
    scaled = plain(signal).numpy() @ plain.frequency_warp([1.1])[0]
    expected = spectral.with_deltas(scaled, order=1).numpy()
    np.testing.assert_allclose(with_deltas(signal).numpy() @ with_deltas.frequency_warp([1.1])[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 0}, "`sample_rate` must be positive. Received: sample_rate=0."),
        ({"hop": 0}, "`hop` must be a positive whole number of samples. Received: hop=0."),
        ({"window": 0}, "`window` must be a positive whole number of samples. Received: window=0."),
        ({"fft_length": 256}, "`fft_length` must be even and at least `window`. Received: fft_length=256, window=400."),
        ({"f_max": 9000.0}, "Need 0 <= f_min < f_max <= sample_rate / 2 = 8000. Received: f_min=20.0, f_max=9000.0."),
        ({"f_min": 500.0, "f_max": 400.0}, "Received: f_min=500.0, f_max=400.0."),
        ({"num_mels": 400}, "a longer `fft_length` or a wider range. Received: num_mels=400, of which"),
        ({"mel_scale": "bark"}, "`mel_scale` must be one of slaney, htk. Received: mel_scale='bark'."),
        ({"mel_norm": "peak"}, "`mel_norm` must be one of slaney, None. Received: mel_norm='peak'."),
        ({"normalize": "batch"}, "`normalize` must be one of utterance, global, None. Received: normalize='batch'."),
        ({"floor": 0.0}, "`floor` must be positive"),
        ({"preemphasis": 1.0}, "`preemphasis` must be in"),
        ({"dither": -1.0}, "`dither` must be zero or positive"),
        ({"deltas": 3}, "`deltas` must be one of 0, 1, 2. Received: deltas=3."),
        ({"delta_width": 4}, "`delta_width` must be odd"),
    ],
)  # fmt: skip
def test_bad_arguments_say_what_is_required(arguments, message):
    with pytest.raises(ValueError) as error:
        LogMel(**{"sample_rate": RATE, **arguments})
    assert message in str(error.value)


def test_other_bad_arguments():
    with pytest.raises(TypeError, match="`window` must be a whole number. Received: 0.025"):
        LogMel(RATE, window=0.025)
    with pytest.raises(ValueError, match="`window` must be a positive whole number of samples. Received: window=0.025"):
        RawSignal(RATE, window=0.025)
    with pytest.raises(ValueError, match="`num_coefficients` must be from 1 to `num_mels`"):
        MFCC(RATE, num_coefficients=41)
    with pytest.raises(ValueError, match="There must be a multiple of 0.78125 Hz from `f_min`.*f_min=1.0, f_max=1.5"):
        LogSpectrogram(100, window=100, hop=50, f_min=1.0, f_max=1.5)
    with pytest.raises(ValueError, match="`channels` must be positive or None"):
        RawSignal(RATE, channels=0)
    with pytest.raises(ValueError, match="Divide 16-bit samples by 32768"):
        LogMel(RATE)(tf.zeros([1, 800], tf.int16))


# Back to sound


@pytest.mark.parametrize(
    "layer",
    [
        LogMel(RATE, preemphasis=0.9, mel_scale="htk", normalize=None),
        MFCC(RATE, num_coefficients=20, deltas=1, normalize=None),
    ],
    ids=["LogMel", "MFCC"],
)
def test_features_become_a_signal_that_has_them(rng, layer):
    signal = signals.vowels(rng, size=RATE) + 0.003 * signals.noise(rng, RATE)
    given = layer(signal).numpy()
    errors = [np.abs(layer(invert(given, layer, iterations=n)).numpy() - given).mean() for n in (0, 32)]
    assert errors[1] < 0.5 and errors[1] < errors[0] / 3


def test_sound_comes_back_when_it_was():
    click = np.zeros(RATE, "float32")
    click[9000] = 1
    layer = LogMel(RATE, normalize=None)
    heard = invert(layer(click).numpy(), layer) ** 2
    assert abs((heard * np.arange(len(heard))).sum() / heard.sum() - 9000) < layer.hop / 2


def test_features_without_their_level_cannot_be_heard():
    with pytest.raises(ValueError, match=r"normalize=None\. Received: normalize='utterance'"):
        invert(np.zeros((3, 80)), LogMel(RATE))
    with pytest.raises(ValueError, match=r"must be \(frames, 80\)\. Received: \(3, 9\)"):
        invert(np.zeros((3, 9)), LogMel(RATE, normalize=None))
