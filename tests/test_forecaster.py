"""Forecasts: segments, the network, the pinball loss and the bundle."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import check_gradients_are_finite, check_padding_never_changes_a_row, check_saved_model_is_the_same

from speechrnn.features import BandPass, LogMel, RawSignal
from speechrnn.layers import FutureSegments, LastSegments
from speechrnn.losses import QuantileLoss, check_quantiles, pinball
from speechrnn.models.averaging import averaged
from speechrnn.models.loading import load, load_bundle
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.forecasting.network import recurrent_forecaster

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZES = {"channels": 3, "context": 20, "horizon": 7, "segment": 4, "units": 6}
VARIANTS = {
    "gru": {},
    "lstm": {"cell": "lstm"},
    "rnn": {"cell": "rnn"},
    "recurrent": {"decoder": "recurrent"},
    "recurrent lstm": {"cell": "lstm", "decoder": "recurrent"},
    "one quantile": {"quantiles": 1},
    "dropout": {"dropout": 0.3},
    "instance scale": {"instance_scale": True},
    "recurrent instance scale": {"instance_scale": True, "decoder": "recurrent"},
    "one channel": {"channels": 1},
}


def make(normalize="global", quantiles=(0.1, 0.5, 0.9), **options):
    keras.utils.set_random_seed(1)
    sizes = {**SIZES, **options}
    features = RawSignal(0.5, window=1, hop=1, channels=sizes["channels"], normalize=normalize)
    if normalize:
        features.mean.assign([10.0, -3.0, 0.5][: sizes["channels"]])
        features.std.assign([100.0, 1.0, 0.01][: sizes["channels"]])
    network = recurrent_forecaster(**sizes, quantiles=len(quantiles))
    return Forecaster(features, network, sizes["context"], quantiles)


@pytest.fixture
def series(rng):
    return [(rng.normal(size=(n, 3)) * [100, 1, 0.01] + [10, -3, 0.5]).astype("float32") for n in (20, 3, 11)]


def test_segments_end_with_the_last_frame_and_are_relative_to_it(rng):
    lengths = [10, 8, 3, 1, 0]
    x = rng.normal(size=(5, 10, 2)).astype("float32")
    for row, length in zip(x, lengths, strict=True):
        row[length:] = np.nan
    segments, counts, last = LastSegments(2, 4)(x, np.array(lengths))
    segments = np.reshape(segments, (5, 2, 2, 4))
    assert np.reshape(counts, (5, 2)).tolist() == [[2, 2], [2, 2], [1, 1], [1, 1], [0, 0]]
    for row, length in enumerate(lengths):
        for channel in range(2):
            values = list(x[row, :length, channel])
            missing = -len(values) % 4 if length < 8 else 0
            expected = np.array(([values[0]] * missing if values else []) + values)[-8:]
            expected = np.reshape(expected - (values[-1] if values else 0), (-1, 4))
            np.testing.assert_array_equal(segments[row, channel, : len(expected)], expected)
            assert not segments[row, channel, len(expected) :].any()
            assert last[row, channel] == (values[-1] if values else 0)


def test_places_to_come_say_which_channel_and_which_segment():
    layer = FutureSegments(3, 2, 4)
    told = layer(np.zeros((4, 1), "float32")).numpy()
    for row in range(4):
        for place in range(3):
            np.testing.assert_array_equal(told[row, place, :2], layer.place[place])
            np.testing.assert_array_equal(told[row, place, 2:], layer.channel[row % 2])


@pytest.mark.parametrize(
    ("layer", "message"),
    [(lambda: LastSegments(0, 2), "`count` must be at least 1"), (lambda: FutureSegments(1, 1, 3), "must be even")],
)
def test_segments_refuse_what_cannot_be(layer, message):
    with pytest.raises(ValueError, match=message):
        layer()


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_padding_and_gradients(options, rng):
    sizes = {**SIZES, **options}
    network = recurrent_forecaster(**sizes)
    check_padding_never_changes_a_row(network, rng, sizes["channels"])
    check_gradients_are_finite(network, rng, sizes["channels"])
    values = rng.normal(size=(2, 20, sizes["channels"])).astype("float32")
    found = network([values, np.array([20, 20], "int32")])
    assert found.shape == (2, 7, sizes["channels"], sizes.get("quantiles", 3))


@pytest.mark.parametrize("options", [{}, {"decoder": "recurrent"}])
def test_every_channel_is_read_by_itself_relative_to_its_last_value(options, rng):
    network, frames = recurrent_forecaster(**SIZES, **options), np.array([20], "int32")
    values = rng.normal(size=(1, 20, 3)).astype("float32")
    before = network([values, frames]).numpy()
    moved = values.copy()
    moved[..., 1] += 5.0
    after = network([moved, frames]).numpy()
    np.testing.assert_array_equal(after[:, :, [0, 2]], before[:, :, [0, 2]])
    np.testing.assert_allclose(after[:, :, 1], before[:, :, 1] + 5.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decoder", ["parallel", "recurrent"])
def test_a_channel_of_another_scale_has_the_same_forecast_in_it(decoder, rng):
    values, frames = rng.normal(size=(2, 20, 3)).astype("float32"), np.array([20, 7], "int32")
    of = {}
    for scaled in (True, False):
        network = recurrent_forecaster(**SIZES, decoder=decoder, instance_scale=scaled)
        last = values[[0, 1], frames - 1][:, None, :, None]
        before = network([values, frames]) - last
        after = network([values * [1, 50, 1], frames]) - last * np.reshape([1, 50, 1], (1, 1, 3, 1))
        of[scaled] = np.abs(after / np.reshape([1, 50, 1], (1, 1, 3, 1)) - before).max()
        assert np.isfinite(network([np.full((1, 20, 3), 3.0, "float32"), frames[:1]])).all()
    assert of[True] < 1e-3 < 0.05 < of[False]


def test_a_recurrent_decoder_goes_on_from_segment_to_segment(rng):
    """What is learned of the first segment to come reaches the second only where the state goes on."""
    values, frames = rng.normal(size=(1, 20, 3)).astype("float32"), np.array([20], "int32")
    for decoder, moves in (("parallel", False), ("recurrent", True)):
        network = recurrent_forecaster(**SIZES, decoder=decoder)
        before = network([values, frames]).numpy()
        place = network.get_layer("to_come").place
        place.assign(place + np.array([[1.0], [0.0]]))
        after = network([values, frames]).numpy()
        assert np.abs(after[:, :4] - before[:, :4]).max() > 1e-3
        assert (np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-4) == moves


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "attention"}, "`decoder` must be one of parallel, recurrent. Received: decoder='attention'"),
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"horizon": 0}, "`horizon` must be"),
        ({"cell": "tcn"}, "`cell` must be"),
        ({"units": 5}, "`units` must be even"),
    ],
)
def test_a_network_refuses_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        recurrent_forecaster(**{**SIZES, **options})


def test_logits_are_float32_under_a_low_policy(rng):
    network = recurrent_forecaster(**SIZES, dtype="mixed_float16")
    found = network([rng.normal(size=(2, 20, 3)).astype("float32"), np.array([20, 5], "int32")])
    assert found.dtype == tf.float32 and np.isfinite(found).all()


def test_the_pinball_loss_is_least_at_the_quantile_of_the_data(rng):
    data, shares = rng.exponential(size=4001).astype("float32"), (0.1, 0.5, 0.9)
    grid = np.linspace(0, 4, 401, dtype="float32")
    for share in shares:
        losses = [float(tf.reduce_mean(pinball(data, np.full((4001, 1), value), (share,)))) for value in grid]
        assert abs(grid[int(np.argmin(losses))] - np.quantile(data, share)) <= 0.011


def test_the_pinball_loss_of_the_median_is_the_absolute_error(rng):
    target, found = rng.normal(size=(4, 5)), rng.normal(size=(4, 5, 1))
    np.testing.assert_allclose(pinball(target, found, (0.5,)), np.abs(target - found[..., 0]), rtol=1e-6)


def test_the_loss_counts_known_values_of_rows_with_weight(rng):
    target, found = rng.normal(size=(3, 4, 2)).astype("float32"), rng.normal(size=(3, 4, 2, 2)).astype("float32")
    target[0, 1, 0] = np.nan
    target[2] = np.nan
    weight, shares, loss = np.array([1.0, 0.0, 1.0], "float32"), (0.2, 0.7), QuantileLoss((0.2, 0.7))
    found = tf.constant(found)
    with tf.GradientTape() as tape:
        tape.watch(found)
        value = loss(target, found, weight)
    terms = []
    for index in np.ndindex(4, 2):
        if not np.isnan(target[0][index]):
            errors = target[0][index] - found[0][index].numpy()
            terms.append(np.mean([2 * max(q * e, (q - 1) * e) for q, e in zip(shares, errors, strict=True)]))
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-6)
    gradient = tape.gradient(value, found).numpy()
    assert np.isfinite(gradient).all() and not gradient[1:].any() and not gradient[0, 1, 0].any()
    assert float(loss(np.full((1, 2), np.nan), np.zeros((1, 2, 2)))) == 0
    assert QuantileLoss.from_config(loss.get_config()).quantiles == shares


@pytest.mark.parametrize("quantiles", [(), (0.5, 0.5), (0.9, 0.1), (0.0, 0.5), (0.5, 1.0), (float("nan"),)])
def test_quantiles_rise_within_0_and_1(quantiles):
    with pytest.raises(ValueError, match="`quantiles` must rise"):
        check_quantiles(quantiles)


@pytest.mark.parametrize("normalize", ["global", None])
def test_a_bundle_is_the_same_after_saving(normalize, series, tmp_path):
    model = make(normalize)
    batch = {"signal": np.stack([series[0]] * 2), "length": np.array([20, 9], "int32")}
    again = check_saved_model_is_the_same(model, batch, tmp_path / "a.keras")
    assert (again.context, again.quantiles, again.horizon) == (20, (0.1, 0.5, 0.9), 7)
    np.testing.assert_array_equal(again.scale, model.scale)
    np.testing.assert_array_equal(again.predict_quantiles(series), model.predict_quantiles(series))


def test_several_forecast_as_one(series, tmp_path):
    first, other = make(), make()
    other.network.set_weights([1.5 * weight for weight in other.network.get_weights()])
    model = averaged([first, other])
    batch = {"signal": np.stack([series[0]] * 2), "length": np.array([20, 9], "int32")}
    # In training quantiles are not sorted yet.
    wanted = np.mean([np.asarray(member(batch, training=True)) for member in (first, other)], 0)
    np.testing.assert_allclose(np.asarray(model(batch, training=True)), wanted, rtol=1e-5, atol=1e-5)
    found, session = model.predict_quantiles(series), load(model.export(tmp_path / "m.onnx"))
    np.testing.assert_allclose(session.predict_quantiles(series), found, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="equal but for their weights.*number 2: {'quantiles'"):
        averaged([first, make(quantiles=(0.2, 0.5, 0.8))])
    first.features.mean.assign([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="equal features"):
        averaged([first, other])


def test_forecasts_are_in_the_units_of_the_series(series):
    """The same network, on a series standardised by hand."""
    model = make()
    mean, std = np.array([10.0, -3.0, 0.5], "float32"), np.array([100.0, 1.0, 0.01], "float32")
    plain = model.network([((series[0] - mean) / std)[None], np.array([20], "int32")]).numpy()[0]
    expected = np.sort(plain * std[:, None] + mean[:, None], axis=-1)
    np.testing.assert_allclose(
        model.predict_quantiles(series)[0] / std[:, None], expected / std[:, None], rtol=1e-4, atol=1e-4
    )


def test_forecasts_take_any_length_and_read_the_context_alone(series, rng):
    model = make()
    together = model.predict_quantiles(series)
    assert together.shape == (3, 7, 3, 3) and (np.diff(together, axis=-1) >= 0).all()
    for one, expected in zip(series, together, strict=True):
        np.testing.assert_allclose(model.predict_quantiles([one])[0], expected, rtol=1e-4, atol=1e-4)
    longer = np.concatenate([1e6 * rng.normal(size=(50, 3)).astype("float32"), series[0]])
    np.testing.assert_array_equal(model.predict_quantiles([longer])[0], model.predict_quantiles([series[0]])[0])
    assert model.predict_quantiles([]).shape == (0, 7, 3, 3)
    for wrong in (np.zeros((5, 2)), np.zeros((0, 3))):
        with pytest.raises(ValueError, match="A signal must"):
            model.predict_quantiles([wrong])


def test_the_loss_is_in_standard_deviations(series):
    model, scale = make(), np.array([100.0, 1.0, 0.01])
    x = {"signal": series[0][None], "length": np.array([20], "int32")}
    target = np.repeat(series[0][None, -1:], 7, axis=1)
    found = model(x)
    expected = tf.reduce_mean(pinball(target / scale, found / scale[:, None], model.quantiles))
    np.testing.assert_allclose(model.compute_loss(x, target, found), expected, rtol=1e-4)


def test_a_bundle_refuses_parts_that_do_not_fit():
    network = recurrent_forecaster(**SIZES)

    def build(features=None, net=network, context=20, quantiles=(0.1, 0.5, 0.9)):
        return Forecaster(features or RawSignal(1, window=1, hop=1, channels=3), net, context, quantiles)

    with pytest.raises(ValueError, match="must have 2 outputs, one for each quantile"):
        build(quantiles=(0.1, 0.9))
    with pytest.raises(ValueError, match="expects 3 features"):
        build(RawSignal(1, window=1, hop=1, channels=2))
    for features in (
        RawSignal(1, window=3, hop=1),
        RawSignal(1, window=1, hop=1, channels=3, normalize="utterance"),
        RawSignal(100, window=1, hop=1, channels=3, filters=[BandPass(100, low=1, high=20)]),
        LogMel(16000, num_mels=3),
    ):
        with pytest.raises(ValueError, match="features must be RawSignal"):
            build(features)
    with pytest.raises(ValueError, match="`context` must be at least 1"):
        build(context=0)
    inputs = [keras.Input((None, 3)), keras.Input((), dtype="int32")]
    flat = keras.Model(inputs, keras.layers.GRU(3)(inputs[0]))
    with pytest.raises(ValueError, match=r"must forecast \(batch, horizon, 3, quantiles\)"):
        build(net=flat)


def test_a_forecaster_that_knows_no_statistics_says_so(series):
    features = RawSignal(1, window=1, hop=1, channels=3, normalize="global")
    with pytest.raises(tf.errors.InvalidArgumentError, match="call `adapt"):
        Forecaster(features, recurrent_forecaster(**SIZES), 20).predict_quantiles(series)


def test_loading_tells_kinds_of_model_apart(tmp_path):
    make().save(tmp_path / "f.keras")
    assert isinstance(load_bundle(tmp_path / "f.keras", kind="forecaster"), Forecaster)
    with pytest.raises(ValueError, match="must be a recognizer. Received: a forecaster"):
        load_bundle(tmp_path / "f.keras", kind="recognizer")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "d.keras")
    with pytest.raises(ValueError, match="must hold a model of speechrnn. Received: a Sequential"):
        load_bundle(tmp_path / "d.keras", kind="forecaster")
