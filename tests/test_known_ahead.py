"""Forecasts with what is known ahead: columns of a table, and the calendar."""

import csv
import datetime as dt

import keras
import numpy as np
import pytest
from contracts import check_padding_never_changes_a_row, check_saved_model_is_the_same
from starlette.testclient import TestClient

import speechrnn as sr
from speechrnn import ForecasterTraining, RawSignal, cli, pipeline, recurrent_forecaster
from speechrnn.data.corpora import series
from speechrnn.data.examples import read_series
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.layers import KnownSegments
from speechrnn.serving import app
from speechrnn.serving.service import Service
from speechrnn.signals.calendar import calendar_columns, checked_cycles
from speechrnn.tasks.forecasting.anomalies import surprise
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster
from speechrnn.tasks.forecasting.finding import find_anomalies
from speechrnn.tasks.forecasting.model import Forecaster

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONTEXT, HORIZON = 8, 6
BEGIN = dt.datetime(2024, 1, 1)


def table(path, wind, load, blank=0):
    """Hourly rows, the known column first; the last `blank` rows have no load."""
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time", "wind", "load"])
        for i, (known, value) in enumerate(zip(wind, load, strict=True)):
            shown = "" if i >= len(load) - blank else f"{value:.6g}"
            out.writerow([BEGIN + dt.timedelta(hours=i), f"{known:.6g}", shown])
    return path


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A table whose load is what the wind is at that hour: nothing in its past tells it. And a model of it."""
    folder = tmp_path_factory.mktemp("known")
    wind = np.random.default_rng(0).normal(size=640)
    path = table(folder / "plant.csv", wind, 100 + 20 * np.tanh(wind))
    how = {"valid_fraction": 0.1, "test_fraction": 0.15, "known": ["wind"], "calendar": ["day"]}
    splits = series.prepare(path, out=folder / "known", **how)
    keras.utils.set_random_seed(1)
    model = Forecaster.for_manifest(splits["train"], context=CONTEXT, horizon=HORIZON, segment=3, units=24)
    options = ForecasterTraining(epochs=4, batch_size=32, learning_rate=1e-2)
    run = sr.train(model, splits["train"], valid=splits["valid"], options=options, out=folder / "known.keras")
    return folder, path, wind, splits, run.model


def test_a_prepared_series_says_what_is_known_ahead(driven):
    _, _, _, splits, model = driven
    assert splits["train"][0].extra == {"channels": ["load"], "known": ["wind"], "calendar": ["day"]}
    assert (model.channels, model.columns, model.known, model.calendar) == (1, 4, ("wind",), ("day",))
    assert model.card["channels"] == ["load"]


def test_what_drives_a_series_makes_its_forecast(driven):
    splits, model = driven[3:]
    report = evaluate_forecaster(model, splits["test"])
    assert report.figures["mse"] < 0.3, "the past alone leaves 1: the load is as unsteady as the wind"
    window = pipeline.plan_windows(
        splits["test"], rate=model.sample_rate, channels=1, context=CONTEXT, horizon=HORIZON, known=model.known,
        calendar=model.calendar,
    ).load(0, 0)  # fmt: skip
    assert window.values.shape == (16, CONTEXT + HORIZON, 4) and window.target.shape == (16, HORIZON, 1)
    assert not window.values[:, CONTEXT:, 0].any(), "the network must not see what it is to forecast"
    whole = read_series(splits["test"][0], known=["wind"], calendar=["day"])[0]
    np.testing.assert_array_equal(window.values[0, CONTEXT:, 1:], whole[:HORIZON, 1:])


def test_the_future_of_a_target_is_never_read_and_that_of_a_known_column_is(driven, rng):
    model = driven[4]
    values = rng.normal(size=(2, CONTEXT + HORIZON, 4)).astype("float32")
    length = np.array([CONTEXT + HORIZON, 3 + HORIZON], "int32")
    before = np.asarray(model({"signal": values, "length": length}))
    unseen = values.copy()
    unseen[0, CONTEXT:, 0] = unseen[1, 3:, 0] = np.nan
    np.testing.assert_array_equal(model({"signal": unseen, "length": length}), before)
    for column in (1, 2, 3):
        told = values.copy()
        told[:, -1 if column == 1 else CONTEXT, column] += 2.0
        told[1, 3 + HORIZON - 1, column] += 2.0
        after = np.asarray(model({"signal": told, "length": length}))
        assert (np.abs(after - before).max((1, 2, 3)) > 1e-3).all()
    further = np.concatenate([np.full((2, 5, 4), 9.0, "float32"), values], axis=1)[:1]
    found = model.predict_quantiles([further[0, :-HORIZON]], [values[0, CONTEXT:, 1:]])
    np.testing.assert_allclose(found, before[:1], rtol=1e-4, atol=1e-3)


def test_it_is_saved_exported_and_run_without_tensorflow(driven, rng, tmp_path):
    model = driven[4]
    batch = {"signal": rng.normal(size=(2, 14, 4)).astype("float32"), "length": np.array([14, 9], "int32")}
    again = check_saved_model_is_the_same(model, batch, tmp_path / "a.keras")
    assert (again.known, again.calendar, again.channels) == (("wind",), ("day",), 1)
    past = [rng.normal(100, 9, size=(n, 4)).astype("float32") for n in (20, 3)]
    ahead = [rng.normal(size=(HORIZON, 3)).astype("float32") for _ in past]
    expected = model.predict_quantiles(past, ahead)
    session = sr.load(model.export(tmp_path / "m.onnx"))
    assert (session.known, session.calendar, session.columns) == (("wind",), ("day",), 4)
    np.testing.assert_allclose(session.predict_quantiles(past, ahead), expected, rtol=1e-4, atol=1e-2)
    refused = {
        "`ahead` must hold": None, "1 for 2 series": ahead[:1], "shape": [a[:2] for a in ahead],
        "not finite": [a * np.nan for a in ahead],
    }  # fmt: skip
    for message, wrong in refused.items():
        with pytest.raises(ValueError, match=message):
            session.predict_quantiles(past, wrong)
    assert model.predict_quantiles([], []).shape == (0, HORIZON, 1, 3)


def test_a_table_is_forecast_from_the_rows_behind_its_last_value(driven, tmp_path, capsys):
    _, _, wind, _, model = driven
    path = table(tmp_path / "new.csv", wind[:60], 100 + 20 * np.tanh(wind[:60]), blank=HORIZON)
    found = model.forecast(path)
    assert found.channels == ("load",) and found.dates[0] == BEGIN + dt.timedelta(hours=54)
    truth = 100 + 20 * np.tanh(wind[54:60])
    assert np.abs(found.median[:, 0] - truth).mean() < 0.6 * np.abs(truth - 100).mean()
    earlier = model.forecast(path, at=40 * 3600)
    assert earlier.dates[0] == BEGIN + dt.timedelta(hours=40)
    model.export(tmp_path / "m.onnx")
    assert cli.main(["forecast", "--model", str(tmp_path / "m.onnx"), str(path)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [float(row["0.5"]) for row in rows] == pytest.approx(found.median[:, 0].tolist(), abs=0.05)


def test_rows_that_lack_what_must_be_known_are_named(driven, tmp_path):
    _, _, wind, _, model = driven
    load = 100 + 20 * np.tanh(wind[:60])
    short = table(tmp_path / "short.csv", wind[:60], load, blank=2)
    with pytest.raises(ValueError, match="short.csv: column 'wind' must be known for the 6 samples to forecast. 4 of "
                                         "them lack a value, the first at 2024-01-03 12:00:00"):  # fmt: skip
        model.forecast(short)
    gap = wind[:60].copy()
    gap[57] = np.nan
    answer = model.forecast([table(tmp_path / "gap.csv", gap, load, blank=6)], on_error="collect")
    assert "1 of them lack a value, the first at 2024-01-03 09:00:00" in next(answer).error
    with pytest.raises(ValueError, match="'load'|no value|finite"):
        model.forecast(table(tmp_path / "none.csv", wind[:9], load[:9], blank=9))
    np.savez(tmp_path / "undated.npz", signal=np.ones((40, 2)), rate=1 / 3600, channels=["wind", "load"])
    with pytest.raises(ValueError, match="has no dates, which a calendar needs"):
        model.forecast(tmp_path / "undated.npz", at=20 * 3600)
    with pytest.raises(ValueError, match="without columns known ahead. Received: one that knows wind, day"):
        surprise(model, np.zeros((20, 4)))
    with pytest.raises(ValueError, match="without columns known ahead"):
        next(find_anomalies(model, [short]))


def test_a_calendar_alone_needs_no_rows_to_come(driven, tmp_path):
    _, path, _, _, _ = driven
    options = {"channels": ["load"], "calendar": ["day", "week", "year"], "overwrite": True}
    (training,) = series.prepare(path, out=tmp_path / "m", **options)["train"]
    model = Forecaster.for_manifest([training], context=CONTEXT, horizon=HORIZON, segment=3, units=4)
    assert (model.channels, model.columns) == (1, 7)
    assert len(model.forecast(path).times) == HORIZON
    with pytest.raises(ValueError, match="`known` and `calendar` must be those of the first series"):
        other = Example(training.path, training.duration, extra={"channels": ["load"]})
        Forecaster.for_manifest([training, other], context=CONTEXT, horizon=HORIZON)


def test_prepare_refuses_columns_that_cannot_be_known(driven, tmp_path):
    path = driven[1]
    with pytest.raises(ValueError, match="forecast or known ahead, not both. Received: wind"):
        series.prepare(path, out=tmp_path / "a", channels=["wind"], known=["wind"])
    with pytest.raises(ValueError, match="A calendar is of day, week, year, each once. Received: month"):
        series.prepare(path, out=tmp_path / "b", calendar=["month"])
    faults = Faults()
    with pytest.raises(ValueError, match="rain"):
        series.prepare(path, out=tmp_path / "c", known=["rain"], faults=faults)


def test_cycles_are_those_of_the_clock():
    moments = [dt.datetime(2024, 1, 1, 18), dt.datetime(2024, 1, 4, 12), dt.datetime(2023, 7, 2, 12)]
    day, week, year = (calendar_columns(moments, [name]).round(4) for name in ("day", "week", "year"))
    np.testing.assert_allclose(day, [[-1, 0], [0, -1], [0, -1]], atol=1e-4)
    np.testing.assert_allclose(week[1], [0, -1], atol=1e-4)
    np.testing.assert_allclose(year[2], [0, -1], atol=1e-4)
    assert calendar_columns([], ["day"]).shape == (0, 2)
    with pytest.raises(ValueError, match="each once"):
        checked_cycles(["day", "day"])


@pytest.mark.parametrize("options", [{}, {"decoder": "recurrent", "instance_scale": True}])
def test_padding_never_matters_and_other_channels_neither(options, rng):
    network = recurrent_forecaster(channels=2, known=3, context=8, horizon=5, segment=3, units=6, **options)
    values, length = rng.normal(size=(2, 20, 5)).astype("float32"), np.array([20, 9], "int32")
    before = network([values, length]).numpy()
    values[1, 9:] = np.nan
    np.testing.assert_array_equal(network([values, length]), before)
    values[:, :4, 1] += 3.0
    np.testing.assert_array_equal(network([values, length])[0, :, 0], before[0, :, 0])
    plain = recurrent_forecaster(channels=2, context=8, horizon=5, segment=3, units=6, **options)
    check_padding_never_changes_a_row(plain, rng, 2)


def test_segments_of_what_is_known_stand_beside_those_of_the_series():
    x = np.arange(7.0, dtype="float32").reshape(1, 7, 1)
    past, ahead = KnownSegments(3, 2, 2, 3)(x, np.array([7]))
    assert past.numpy().tolist() == [[[0, 1], [2, 3], [0, 0]]]
    assert ahead.numpy().tolist() == [[[4, 5], [6, 6]]]
    with pytest.raises(ValueError, match="`horizon` must be at least 1"):
        KnownSegments(1, 1, 1, 0)


def test_a_model_without_it_refuses_what_is_known():
    features = RawSignal(1, window=1, hop=1, channels=2)
    model = Forecaster(features, recurrent_forecaster(channels=2, context=4, horizon=2, segment=2, units=4), 4)
    with pytest.raises(ValueError, match="this has neither"):
        model.predict_quantiles([np.zeros((4, 2), "float32")], [np.zeros((2, 1), "float32")])
    with pytest.raises(ValueError, match="1 are known ahead"):
        Forecaster(features, model.network, 4, known=["wind"])


def test_a_server_forecasts_a_table_and_shows_the_series_without_the_rows_to_come(driven, tmp_path):
    _, _, wind, _, model = driven
    path = table(tmp_path / "new.csv", wind[:60], 100 + 20 * np.tanh(wind[:60]), blank=HORIZON)
    expected = model.forecast(path).median[:, 0]
    with TestClient(app.make(Service([model.export(tmp_path / "plant.onnx")]))) as client:
        sent = {"files": {"file": ("new.csv", path.read_bytes())}, "data": {"preview": "true"}}
        found = client.post("/v1/forecast", **sent).json()
        refused = client.post("/v1/forecast", json={"signal": [[1.0]] * 20}).json()
    assert [row[1] for row in found["channels"]["load"]] == pytest.approx(expected.tolist(), abs=0.05)
    shown = found["preview"]
    assert shown["duration"] == 54 * 3600 and len(shown["channels"]) == 1
    assert 79 < min(shown["channels"][0]["least"]) < max(shown["channels"][0]["most"]) < 121, "the wind is shown"
    assert "Send a table as `file`" in refused["error"]["message"]
