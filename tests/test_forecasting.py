"""Series in, forecasts out: windows, training, scores against brute force, and the corpora of series."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import scipy.stats

from speechrnn import (
    ClassifierTraining,
    Example,
    ForecasterTraining,
    RawSignal,
    RecognizerTraining,
    TrainingOptions,
    pipeline,
    recurrent_forecaster,
    signals,
    train,
)
from speechrnn.data.corpora import ett, series
from speechrnn.data.examples import read_example
from speechrnn.faults import Faults
from speechrnn.features import Augmentation
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster, print_report
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.forecasting.training import ForecasterTask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RATE, PERIOD = 0.25, 12
HOW = {"rate": RATE, "channels": 2, "context": 24, "horizon": 6}


def write(path, size, seed=0, noise=0.2):
    """Two channels of one season, in units of their own."""
    rng = np.random.default_rng(seed)
    turns = 2 * np.pi * np.arange(size) / PERIOD
    values = np.stack([np.sin(turns), np.cos(turns)], 1) + noise * rng.normal(size=(size, 2))
    values = (values * [50.0, 0.2] + [200.0, -1.0]).astype("float32")
    np.savez(path, signal=values, rate=RATE)
    return values


def example(path, first, count, **more):
    return Example(str(path), count / RATE, offset=first / RATE, **more)


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """A series with its parts: 300 samples to learn from, 100 to validate on."""
    path = tmp_path_factory.mktemp("series") / "waves.npz"
    write(path, 400)
    return path, [example(path, 0, 300)], [example(path, 300, 100)]


def make(seed=1):
    keras.utils.set_random_seed(seed)
    features = RawSignal(RATE, window=1, hop=1, channels=2, normalize="global")
    network = recurrent_forecaster(channels=2, context=24, horizon=6, segment=6, units=16)
    return Forecaster(features, network, 24)


@pytest.fixture(scope="module")
def trained(waves, tmp_path_factory):
    _, training, validation = waves
    model = make()
    model.features.adapt([read_example(training[0])[0]])
    options = ForecasterTraining(epochs=8, batch_size=16, learning_rate=2e-2)
    out = tmp_path_factory.mktemp("model") / "waves.keras"
    return train(model, training, valid=validation, options=options, out=out, verbose=False)


def test_windows_are_every_stretch_and_what_came_after_it(waves):
    path, training, _ = waves
    whole = signals.read(path)[0][:300]
    dataset = pipeline.windows(training, **HOW, batch_size=32)
    found = list(dataset.as_numpy_iterator())
    assert len(found) == len(dataset) == math.ceil((300 - 24 - 6 + 1) / 32)
    count = 0
    for x, target, weight in found:
        assert x["signal"].shape == (32, 24, 2) and target.shape == (32, 6, 2)
        for row in np.flatnonzero(weight):
            np.testing.assert_array_equal(x["signal"][row], whole[count : count + 24])
            np.testing.assert_array_equal(target[row], whole[count + 24 : count + 30])
            assert x["length"][row] == 24
            count += 1
    assert count == 271 and found[-1][2].tolist() == [1.0] * 15 + [0.0] * 17


def test_a_part_is_forecast_whole_from_what_lies_before_it(waves):
    path, _, validation = waves
    whole = signals.read(path)[0]
    plan = pipeline.plan_of(pipeline.windows(validation, **HOW, batch_size=1000))
    batch = plan.load(0, 0)
    assert int(batch.weight.sum()) == 100 - 6 + 1
    np.testing.assert_array_equal(batch.values[0], whole[276:300])
    np.testing.assert_array_equal(batch.target[0], whole[300:306])
    np.testing.assert_array_equal(batch.target[94], whole[394:400])
    late = pipeline.plan_windows([example(path, 10, 60)], **HOW).load(0, 0)  # 14 samples too few lie before it
    np.testing.assert_array_equal(late.target[0], whole[24:30])


def test_windows_may_lie_apart_and_come_from_several_series(waves, tmp_path):
    _, training, _ = waves
    write(tmp_path / "b.npz", 50, seed=5)
    plan = pipeline.plan_windows([*training, example(tmp_path / "b.npz", 0, 50)], **HOW, every=10)
    assert plan.origins[:, 0].tolist() == [0] * 28 + [1] * 3
    assert plan.origins[28:, 1].tolist() == [24, 34, 44]


def test_each_epoch_has_an_order_of_its_own_that_the_seed_decides(waves):
    def pass_over(dataset):
        return np.concatenate([target[:, 0, 0] for _, target, _ in dataset.as_numpy_iterator()])[:271]

    how = {**HOW, "batch_size": 32, "shuffle": True, "seed": 3}
    dataset = pipeline.windows(waves[1], **how)
    first, second = pass_over(dataset), pass_over(dataset)
    assert sorted(first) == sorted(second) and (first != second).any()
    np.testing.assert_array_equal(pass_over(pipeline.windows(waves[1], **how, initial_epoch=1)), second)
    assert pipeline.plan_of(dataset).epoch == 2
    assert (pass_over(pipeline.windows(waves[1], **{**how, "seed": 4})) != first).any()


def test_series_that_cannot_be_used_are_named(waves, tmp_path):
    path, training, _ = waves
    np.savez(tmp_path / "slow.npz", signal=np.zeros((90, 2), "float32"), rate=RATE / 2)
    gap = write(tmp_path / "gap.npz", 90)
    gap[40:48] = np.nan
    np.savez(tmp_path / "gap.npz", signal=gap, rate=RATE)
    np.savez(tmp_path / "one.npz", signal=np.zeros((90, 1), "float32"), rate=RATE)
    bad = [
        example(tmp_path / "slow.npz", 0, 40),
        example(path, 0, 29),
        example(tmp_path / "gap.npz", 0, 90),
        example(tmp_path / "gone.npz", 0, 90),
        example(tmp_path / "one.npz", 0, 90),
    ]
    faults = Faults()
    plan = pipeline.plan_windows([*bad, *training], **HOW, faults=faults)
    assert plan.examples == training
    assert [fault.kind for fault in faults] == [
        "of another rate", "too short", "with gaps", "missing", "lacking the channel",
    ]  # fmt: skip
    told = [str(fault) for fault in faults]
    assert "must have a sample every 4 s. Received: a sample every 8 s" in told[0]
    assert "needs 30 samples to forecast 6 from 24. Received: 29" in told[1]
    with pytest.raises(ValueError, match="No series is left to make windows of. 5 of 5 series dropped"):
        pipeline.plan_windows(bad, **HOW)
    with pytest.raises(ValueError, match="`every` must be at least 1"):
        pipeline.plan_windows(training, **HOW, every=0)


def test_a_short_gap_is_filled(tmp_path):
    values = write(tmp_path / "a.npz", 90)
    values[40:46] = np.nan
    np.savez(tmp_path / "a.npz", signal=values, rate=RATE)
    plan = pipeline.plan_windows([example(tmp_path / "a.npz", 0, 90)], **HOW)
    np.testing.assert_allclose(plan.series[0][39:47], np.linspace(values[39], values[46], 8), rtol=1e-5)


def test_training_learns_the_season_and_keeps_the_best(trained):
    losses = [row["val_loss"] for row in trained.history]
    assert min(losses) == losses[trained.best_epoch - 1] < 0.3
    assert losses[0] > 2 * min(losses)
    assert {"val_mae", "val_mse", "loss"} <= set(trained.history[-1])


def test_a_killed_run_resumes_as_if_it_had_not_been(waves, trained, tmp_path):
    _, training, validation = waves
    options = ForecasterTraining(epochs=8, batch_size=16, learning_rate=2e-2)

    def start(callbacks=(), **how):
        model = make()
        model.features.adapt([read_example(training[0])[0]])
        out = tmp_path / "a.keras"
        return train(
            model, training, valid=validation, options=options, out=out, verbose=False, callbacks=callbacks, **how
        )

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        start([Kill()])
    again = start(resume=True)
    for one, other in zip(again.history, trained.history, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)


def test_options_of_other_kinds_are_refused(waves, tmp_path):
    model = make()
    for kind in (RecognizerTraining, ClassifierTraining):
        with pytest.raises(TypeError, match=f"{kind.__name__} is not for a forecaster. Pass ForecasterTraining"):
            train(model, waves[1], out=tmp_path / "a.keras", options=kind())
    with pytest.raises(ValueError, match="`monitor` must be one of auto, loss, mae, mse. Received: monitor='wer'"):
        train(model, waves[1], out=tmp_path / "a.keras", options=TrainingOptions(monitor="wer"))
    with pytest.raises(ValueError, match="series are not augmented"):
        train(model, waves[1], out=tmp_path / "a.keras", augment=Augmentation(jitter=0.1))


def test_the_report_is_what_brute_force_finds(waves, trained):
    path, _, validation = waves
    whole, model = signals.read(path)[0].astype(float), trained.model
    report = evaluate_forecaster(model, validation, season=PERIOD, batch_size=40)
    sums = {"squares": [], "errors": [], "last": [], "season": [], "within": [], "crps": [], "season_crps": []}
    shares = np.array(model.quantiles)
    for origin in range(300, 395):
        future = whole[origin : origin + 6]
        found = model.predict_quantiles([whole[origin - 24 : origin].astype("float32")])[0]
        sums["errors"].append(np.abs(found[..., 1] - future) / model.scale)
        sums["squares"].append(sums["errors"][-1] ** 2)
        sums["last"].append(np.abs(whole[origin - 1] - future) / model.scale)
        sums["season"].append(np.abs(whole[origin - PERIOD : origin - PERIOD + 6] - future) / model.scale)
        around = whole[origin - 24 + PERIOD : origin] - whole[origin - 24 : origin - PERIOD]
        ahead = np.sqrt(np.floor(np.arange(6) / PERIOD) + 1)[:, None, None]
        ago = whole[origin - PERIOD : origin - PERIOD + 6, :, None]
        of_season = ago + ahead * around.std(0)[:, None] * scipy.stats.norm.ppf(shares)
        for name, quantiles in (("crps", found), ("season_crps", of_season)):
            off = future[..., None] - quantiles
            sums[name].append((2 * np.where(off > 0, shares * off, (shares - 1) * off)).mean(-1) / model.scale)
        sums["within"].append((found[..., 0] <= future) & (future <= found[..., 2]))
    means = {name: np.mean(values) for name, values in sums.items()}
    expected = {
        "mse": means["squares"], "mae": means["errors"], "last_mae": means["last"], "season_mae": means["season"],
        "skill": 1 - means["errors"] / min(means["last"], means["season"]), "coverage": means["within"],
        "crps": means["crps"], "season_crps": means["season_crps"],
    }  # fmt: skip
    assert report.figures == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(report.step_mae, np.mean(sums["errors"], (0, 2)), rtol=1e-3)
    np.testing.assert_allclose(report.channel_mae, np.mean(sums["errors"], (0, 1)) * model.scale, rtol=1e-3)
    assert (report.windows, report.blocks, report.horizon) == (95, 16, 6)
    assert report.nominal == pytest.approx(0.8)
    for name in ("mse", "mae", "coverage"):
        low, high = report.intervals[name]
        assert low < report.figures[name] < high
    assert report.figures["skill"] > 0, "the model must beat repeating the season, whose noise is doubled"


def test_the_scorer_and_the_report_agree(waves, trained):
    model = trained.model
    dataset = pipeline.windows(waves[2], **HOW, batch_size=32)
    score, report = ForecasterTask(model, None).scorer(dataset)(), evaluate_forecaster(model, waves[2])
    assert score.mae == pytest.approx(report.figures["mae"], rel=1e-4)
    assert score.mse == pytest.approx(report.figures["mse"], rel=1e-4)
    best = trained.history[trained.best_epoch - 1]
    assert (score.loss, score.mae) == pytest.approx((best["val_loss"], best["val_mae"]), rel=1e-4)


def test_windows_that_lie_apart_make_no_empty_blocks(waves, trained):
    report = evaluate_forecaster(trained.model, waves[2], every=20)  # 95 windows, of 6 samples each
    assert (report.windows, report.blocks) == (5, 5)


def test_few_blocks_have_no_interval_and_no_season_is_no_error(waves, trained, capsys):
    report = evaluate_forecaster(trained.model, [dataclasses.replace(waves[2][0], duration=40 / RATE)])
    assert report.blocks == 6 and all(math.isnan(low) for low, _ in report.intervals.values())
    assert (
        math.isnan(report.figures["season_mae"])
        and math.isnan(report.figures["season_crps"])
        and report.figures["skill"] > 0
    )
    print_report(report, ["east", "west"])
    told = capsys.readouterr().out
    assert "below that of the last value" in told and "[" not in told.split("Samples")[0]
    assert [line.split()[0] for line in told.splitlines()[2:5]] == ["1", "2", "4"] and "west" in told
    worse = dataclasses.replace(report, figures={**report.figures, "skill": -0.05})
    assert "absolute error 5.0% above that of the last value; " in str(worse)
    assert "interval" not in str(dataclasses.replace(report, nominal=0.0))
    with pytest.raises(ValueError, match="`season` must be 1 to the model's context, 24"):
        evaluate_forecaster(trained.model, waves[2], season=25)


def table(path, size, step="h"):
    lines = ["date,a,b"]
    for i in range(size):
        minutes = i * (60 if step == "h" else 15)
        day, rest = divmod(minutes, 1440)
        lines.append(f"{np.datetime64('2016-07-01') + day} {rest // 60:02d}:{rest % 60:02d}:00,{i},{2 * i}")
    path.write_text("\n".join(lines) + "\n")


def test_series_are_split_by_time(tmp_path):
    (tmp_path / "in").mkdir()
    table(tmp_path / "in" / "x.csv", 100)
    table(tmp_path / "in" / "y.csv", 50)
    splits = series.prepare(tmp_path / "in", tmp_path / "out", valid_fraction=0.1, test_fraction=0.2, channels=["b"])
    assert {name: [e.id for e in split] for name, split in splits.items()} == {
        "train": ["x-train", "y-train"], "valid": ["x-valid", "y-valid"], "test": ["x-test", "y-test"],
    }  # fmt: skip
    found = {name: read_example(split[0])[0][:, 0] for name, split in splits.items()}
    np.testing.assert_array_equal(np.concatenate(list(found.values())), 2 * np.arange(100))
    assert [len(part) for part in found.values()] == [70, 10, 20]
    with pytest.raises(ValueError, match="leave something to learn from"):
        series.prepare(tmp_path / "in", tmp_path / "no", valid_fraction=0.5, test_fraction=0.5)
    (tmp_path / "in" / "z.csv").write_text("a,b\n")
    faults = Faults()
    assert len(series.prepare(tmp_path / "in", tmp_path / "faulty", faults=faults)["train"]) == 2
    assert len(faults) == 1 and "z.csv" in next(iter(faults)).where
    with pytest.raises(ValueError, match=r"z\.csv"):
        series.prepare(tmp_path / "in", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_ett_is_12_4_and_4_months(tmp_path, monkeypatch):
    monkeypatch.setattr(ett, "CHANNELS", ("a", "b"))
    table(tmp_path / "ETTm2.csv", 20 * 30 * 24 * 4 + 7, "m")
    splits = ett.prepare(tmp_path, tmp_path / "out", name="ETTm2")
    days = {name: (split[0].offset / 86400, split[0].duration / 86400) for name, split in splits.items()}
    assert days == {"train": (0, 360), "valid": (360, 120), "test": (480, 120)}
    with pytest.raises(ValueError, match="must be one of ETTh1, .* Did you mean `ETTm2`"):
        ett.prepare(tmp_path, tmp_path / "b", name="ETTm3")
    with pytest.raises(FileNotFoundError, match=r"has no ETTh1\.csv"):
        ett.prepare(tmp_path, tmp_path / "b")


def test_the_plot_shows_each_channel_before_and_behind_now(rng):
    from speechrnn.report.plots import plot_forecast

    past, truth = rng.normal(size=(30, 2)), rng.normal(size=(4, 2))
    forecast = np.sort(rng.normal(size=(6, 2, 5)), axis=-1)
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    figure = plot_forecast(past, forecast, truth, quantiles=shares, channels=["a", "b"], period=0.5, unit="hours")
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "b"]
    was, _, said, came = figure.axes[1].lines
    np.testing.assert_allclose(was.get_xydata(), np.stack([0.5 * np.arange(-29, 1), past[:, 1]], 1))
    np.testing.assert_allclose(said.get_xydata(), np.stack([0.5 * np.arange(1, 7), forecast[:, 1, 2]], 1))
    np.testing.assert_allclose(came.get_ydata(), truth[:, 1])
    assert len(figure.axes[0].collections) == 2
    assert figure.axes[-1].get_xlabel() == "hours from now"
    with pytest.raises(ValueError, match="as many quantiles as are named"):
        plot_forecast(past, forecast)
