"""A forecaster's `.onnx` gives what Keras gives; the verbs `forecast` and `evaluate` of a forecaster."""

import csv
import datetime as dt
import io
import json
import zoneinfo

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from test_forecaster import VARIANTS, make
from test_forecasting import PERIOD, RATE, example, write

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.writing import export
from speechrnn.faults import Fault
from speechrnn.layers import GRU, LSTM
from speechrnn.models.loading import load_session, open_model
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster
from speechrnn.tasks.forecasting.forecast import forecasts
from speechrnn.tasks.forecasting.session import ForecasterSession

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def moved(model, seed=1):
    """The model with no weight of its network at zero."""
    rng = np.random.default_rng(seed)
    model.network.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in model.network.get_weights()])
    return model


def started(graph):
    return onnxruntime.InferenceSession(graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("variant", [*VARIANTS, "without normalization"])
def test_the_session_equals_keras(variant, rng, tmp_path):
    options, normalize = dict(VARIANTS.get(variant, {})), "global" if variant in VARIANTS else None
    quantiles = (0.5,) if options.pop("quantiles", 3) == 1 else (0.1, 0.5, 0.9)
    model = moved(make(normalize, quantiles, **options))
    session = ForecasterSession(export(model, tmp_path / "a.onnx"))
    series = [(model.scale * rng.normal(size=(n, model.channels))).astype("float32") for n in (20, 31, 9, 1)]
    found, expected = session.predict_quantiles(series), model.predict_quantiles(series)
    np.testing.assert_allclose(found / model.scale[:, None], expected / model.scale[:, None], rtol=0, atol=1e-4)
    for one, other in zip(series, found, strict=True):
        np.testing.assert_allclose(session.predict_quantiles([one])[0], other, rtol=1e-4, atol=1e-3 * model.scale.max())
    for name in ("sample_rate", "channels", "context", "horizon", "quantiles", "median", "card"):
        assert getattr(session, name) == getattr(model, name), name
    np.testing.assert_array_equal(session.scale, model.scale)
    assert session.predict_quantiles([]).shape == (0, 7, model.channels, len(quantiles))
    with pytest.raises(ValueError, match=r"A signal must be finite.*inf.* at place 0 \(signal 0\)"):
        session.predict_quantiles([np.full((20, model.channels), np.inf, "float32")])
    with pytest.raises(ValueError, match="A signal must be"):
        session.predict_quantiles([series[0][:, 0]])


@pytest.mark.parametrize("layer", [LSTM, GRU])
@pytest.mark.parametrize("sequences", [True, False])
def test_states_go_in_and_come_out(layer, sequences, rng, tmp_path):
    x = keras.Input((None, 3))
    states = [keras.Input((4,)) for _ in range(2 if layer is LSTM else 1)]
    outputs = layer(4, return_sequences=sequences, return_state=True)(x, initial_state=states)
    network = keras.Model([x, *states], outputs)
    graph = Graph("states")
    names = [graph.input("x", "float32", ("batch", "frames", 3))]
    names += [graph.input(f"s{i}", "float32", ("batch", 4)) for i in range(len(states))]
    for i, name in enumerate(write_network(graph, network, names)):
        graph.output(name, f"y{i}", "float32", ("batch", None, 4) if i == 0 and sequences else ("batch", 4))
    given = [rng.normal(size=shape).astype("float32") for shape in [(2, 5, 3), *[(2, 4)] * len(states)]]
    found = started(graph).run(None, dict(zip(names, given, strict=True)))
    for ours, expected in zip(found, network(given), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_repeat_as_keras_repeats(axis, rng):
    inputs = keras.Input((2, 3))
    network = keras.Model(inputs, keras.ops.repeat(inputs, 3, axis=axis))
    graph = Graph("repeat")
    (name,) = write_network(graph, network, [graph.input("x", "float32", ("batch", 2, 3))])
    graph.output(name, "y", "float32", (None, None, None))
    x = rng.normal(size=(4, 2, 3)).astype("float32")
    (found,) = started(graph).run(None, {"x": x})
    np.testing.assert_array_equal(found, np.repeat(x, 3, axis))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A forecaster of two channels in both kinds of file, and a series."""
    folder = tmp_path_factory.mktemp("saved")
    model = moved(make(channels=2))
    model.features.sample_rate = RATE
    model.card = {"channels": ["b", "a"]}
    model.save(folder / "m.keras")
    export(model, folder / "m.onnx")
    values = write(folder / "waves.npz", 100)
    np.savez(folder / "named.npz", signal=values, rate=RATE, channels=["a", "b"])
    return folder, model, values


def test_sessions_are_found_by_what_the_file_holds(saved):
    folder, model, values = saved
    for name in ("m.keras", "m.onnx"):
        session = load_session(folder / name)
        assert isinstance(session, ForecasterSession) and isinstance(
            load_session(folder / name, kind="forecaster"), ForecasterSession
        )
        np.testing.assert_allclose(
            session.predict_quantiles([values]), model.predict_quantiles([values]), rtol=1e-4, atol=1e-2
        )
    for kind in ("recognizer", "classifier"):
        with pytest.raises(ValueError, match=f"must be a {kind}. Received: a forecaster, see `speechrnn forecast`"):
            load_session(folder / "m.onnx", kind=kind)
    with pytest.raises(ValueError, match="A Forecaster can be written to onnx or savedmodel only"):
        export(model, folder / "m.tflite", to="litert")


def test_a_forecast_begins_behind_the_last_value(saved, tmp_path):
    _, model, values = saved
    for size in (100, 1500):  # more than are looked at at once
        rows = np.full((size + 1100, 2), np.nan)
        rows[:size] = np.resize(values, (size, 2))
        np.savez(tmp_path / "ahead.npz", signal=rows, rate=RATE, channels=["b", "a"])
        (found,) = forecasts(model, [tmp_path / "ahead.npz"])
        np.testing.assert_allclose(found.times, (size + np.arange(7)) / RATE)
        np.testing.assert_allclose(found.values, model.predict_quantiles([rows[:size].astype("float32")])[0], rtol=1e-4)
    np.savez(tmp_path / "nothing.npz", signal=np.full((20, 2), np.nan), rate=RATE, channels=["b", "a"])
    (found,) = forecasts(model, [tmp_path / "nothing.npz"])
    assert "nothing.npz: has no value of b, a" in str(found)


def test_a_forecast_reads_the_channels_that_the_card_names(saved):
    folder, model, values = saved
    (found,) = forecasts(model, [folder / "named.npz"])
    assert found.channels == ("b", "a")
    np.testing.assert_allclose(found.values, model.predict_quantiles([values[:, ::-1]])[0], rtol=1e-4)
    np.testing.assert_allclose(found.times, (100 + np.arange(7)) / RATE)
    (earlier,) = forecasts(model, [folder / "named.npz"], at=60 / RATE)
    np.testing.assert_allclose(earlier.values, model.predict_quantiles([values[:60, ::-1]])[0], rtol=1e-4)
    assert earlier.times[0] == 60 / RATE


def test_what_cannot_be_forecast_is_a_fault(saved, tmp_path):
    folder, model, values = saved
    np.savez(tmp_path / "fast.npz", signal=values, rate=2 * RATE, channels=["a", "b"])
    found = list(forecasts(model, [tmp_path / "fast.npz", tmp_path / "gone.npz", folder / "named.npz"]))
    assert [f.kind if isinstance(f, Fault) else f.path for f in found] == [
        "of another rate", "missing", str(folder / "named.npz"),
    ]  # fmt: skip
    (late,) = forecasts(model, [folder / "named.npz"], at=500.0)
    assert late.kind == "shorter than asked for" and "lasts 400 s. Received: at=500" in late.message


def test_the_verb_gives_a_line_for_each_sample_and_channel(saved, capsys):
    folder, model, values = saved
    path = str(folder / "named.npz")
    assert cli.main(["forecast", "--model", str(folder / "m.onnx"), path, str(folder / "gone.npz")]) == 1
    out, err = capsys.readouterr()
    assert "gone.npz" in err and "1 of 2 files failed: 1 missing." in err
    head, *lines = csv.reader(io.StringIO(out))
    assert head == ["path", "seconds", "time", "channel", "0.1", "0.5", "0.9"] and len(lines) == 7 * 2
    assert lines[0][:4] == [path, "400", "", "b"] and lines[3][:4] == [path, "404", "", "a"]
    expected = model.predict_quantiles([values[:, ::-1]])[0].reshape(14, 3)
    np.testing.assert_allclose(np.array([line[4:] for line in lines], float), expected, rtol=1e-3, atol=1e-3)
    assert cli.main(["forecast", "--model", str(folder / "m.onnx"), path, "--json", "--at", "240"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["times"][0] == 240 and list(found["channels"]) == ["b", "a"]
    assert np.shape(found["channels"]["a"]) == (7, 3) and "dates" not in found


def test_a_table_with_dates_is_forecast_with_dates(saved, tmp_path, capsys):
    folder, _, values = saved
    path, utc = tmp_path / "t.csv", dt.datetime(2024, 3, 31, 0, 45, tzinfo=dt.UTC)  # clocks are put forward at 1:00
    times = [utc - dt.timedelta(seconds=len(values) - 1 - i) / RATE for i in range(len(values))]

    def told(form, *options):
        rows = zip(map(form, times), values.tolist(), strict=True)
        path.write_text("when,a,b\n" + "".join(f"{time},{a},{b}\n" for time, (a, b) in rows))
        assert cli.main(["forecast", "--model", str(folder / "m.onnx"), str(path), *options]) == 0
        return [line["time"] for line in csv.DictReader(io.StringIO(capsys.readouterr().out))][::2]

    after = [utc + dt.timedelta(seconds=i) / RATE for i in range(1, 8)]
    assert told(dt.datetime.isoformat) == [time.isoformat() for time in after]
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    local = [time.astimezone(zone).isoformat() for time in after]
    assert (
        local[0].endswith("+01:00")
        and local[0]
        == told(lambda time: time.astimezone(zone).replace(tzinfo=None).isoformat(), "--time-zone", "Europe/Berlin")[0]
    )
    naive = told(lambda time: time.strftime("%d/%m/%Y %H:%M:%S"), "--day-first")
    assert naive == [time.replace(tzinfo=None).isoformat() for time in after]


def test_evaluate_takes_a_forecaster(saved, tmp_path, capsys):
    folder, model, _ = saved
    given = [example(folder / "named.npz", 40, 60, extra={"channels": ["b", "a"]})]
    manifest.write(tmp_path / "m.jsonl", given)
    words = ["evaluate", "--model", str(folder / "m.onnx"), str(tmp_path / "m.jsonl")]
    assert cli.main([*words, "--season", str(PERIOD), "--json"]) == 0
    found, report = json.loads(capsys.readouterr().out), evaluate_forecaster(model, given, season=PERIOD)
    known = {name: value for name, value in report.figures.items() if not np.isnan(value)}  # JSON has null for NaN
    assert {name: found["figures"][name] for name in known} == pytest.approx(known, rel=1e-3)
    assert all(found["figures"][name] is None for name in report.figures.keys() - known.keys())
    assert found["windows"] == report.windows == 54
    assert cli.main([*words, "--json"]) == 0
    bare = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert bare["figures"]["season_mae"] is None
    manifest.write(tmp_path / "whole.jsonl", [example(folder / "named.npz", 40, 60)])
    assert cli.main(["evaluate", "--model", str(folder / "m.onnx"), str(tmp_path / "whole.jsonl")]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["a", "b"]
    assert cli.main([*words, "--every", "10"]) == 0
    assert "6 windows of 7 samples" in capsys.readouterr().out
    for option, complaint in (
        ("--normalize-texts", "an option of --task transcribe"),
        ("--per-subject", "is not for a forecaster"),
    ):
        assert cli.main([*words, option]) == 2
        assert complaint in capsys.readouterr().err


def test_other_verbs_say_what_it_is(saved, capsys):
    folder, _, _ = saved
    assert cli.main(["classify", "--model", str(folder / "m.onnx"), str(folder / "waves.npz")]) == 2
    assert "must be a classifier. Received: a forecaster, see `speechrnn forecast`" in capsys.readouterr().err
    reader = type("Reader", (), {"probabilities": None})()
    with pytest.raises(
        ValueError, match="The model: must be a forecaster. Received: a classifier, see `speechrnn classify`"
    ):
        open_model(reader, "forecaster")


def test_train_makes_a_forecaster_from_a_manifest(tmp_path, capsys):
    values = write(tmp_path / "waves.npz", 200)
    values[60:63] = values[59]  # as many samples are missing, and what fills them is a straight line
    values[63] = values[59]
    missing = values.copy()
    missing[60:63] = np.nan
    np.savez(tmp_path / "waves.npz", signal=missing, rate=RATE, channels=["a", "b"])
    for name, first, count in (("train", 0, 150), ("valid", 150, 50)):
        part = example(tmp_path / "waves.npz", first, count, extra={"channels": ["b"]})
        manifest.write(tmp_path / f"{name}.jsonl", [part])
    words = ["train", str(tmp_path / "train.jsonl"), "--out", str(tmp_path / "m.keras"), "--task", "forecast"]
    sizes = ["--context", "24", "--horizon", "6", "--segment", "6", "--units", "4", "--quantiles", "0.5", "0.8"]
    valid = ["--valid", str(tmp_path / "valid.jsonl"), "--epochs", "1"]
    assert cli.main([*words, *valid, *sizes]) == 0
    assert "validation MAE" in capsys.readouterr().out
    model = load_session(tmp_path / "m.keras", kind="forecaster")
    assert (model.channels, model.context, model.horizon, model.quantiles) == (1, 24, 6, (0.5, 0.8))
    assert model.card == {"channels": ["b"]}
    np.testing.assert_allclose(model.scale, values[:150, 1].std(), rtol=1e-5)
    for wrong, complaint in (
        ([], "--context is required"),
        ([*sizes, "--layers", "2"], "--layers: an option of --task transcribe, not of --task forecast"),
        ([*sizes, "--num-mels", "40"], "--num-mels: an option of --task"),
        ([*sizes, "--subwords", "40"], "--subwords: an option of --task transcribe"),
        ([*sizes, "--sample-rate", "1"], "--sample-rate: an option of --task"),
    ):
        assert cli.main([*words, *valid, *wrong, "--overwrite"]) == 2
        assert complaint in capsys.readouterr().err
    assert cli.main([*words[:-1], "classify", *valid, "--horizon", "3"]) == 2
    assert "--horizon: an option of --task forecast, not of --task classify" in capsys.readouterr().err
    assert cli.main([*words[:-1], "classify", *valid, "--decoder", "parallel"]) == 2
    assert "--decoder: an option of --task forecast" in capsys.readouterr().err


def test_a_savedmodel_gives_the_forecast(saved, tmp_path):
    _, model, values = saved
    folder = export(model, tmp_path / "served", to="savedmodel")
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    found = serve(signal=tf.constant(values[None]), length=tf.constant([100]))
    assert set(found) == {"forecast"}
    expected = model({"signal": values[None], "length": np.array([100], "int32")})
    np.testing.assert_allclose(found["forecast"], expected, rtol=1e-4, atol=1e-3)
