"""ETT: the load and oil temperature of a transformer up to a month ahead, with an interval.

    python -m pipelines.forecast_ett --data-dir DIR       # 96, 192, 336 and 720 hours ahead, on the test months
    python -m pipelines.forecast_ett --data-dir DIR --horizons 96 --validate   # without the test months
    speechrnn forecast --model runs/forecast_ett/ETTh1_96.keras NEW.csv

DIR has ETTh1.csv as published. An encoder reads 14 days in segments of a day, and a decoder forecasts each day to come;
they share one GRU. Context, segment, decoder and scaling were chosen without the test months, from two origins
(`--validate`) at 96 and 720 hours, and are the same for all horizons; the epoch is chosen on the four months before the
test months. The forecasts of several models with different seeds are averaged.
"""

from dataclasses import replace
from pathlib import Path

import keras

from speechrnn import Forecaster, ForecasterTraining, RawSignal, recurrent_forecaster, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import ett
from speechrnn.data.examples import read_example
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster, print_report

HORIZONS, CONTEXT, SEASON = (96, 192, 336, 720), 336, 24
ORIGINS = (8, 12)  # months of training data
QUANTILES = (0.1, 0.5, 0.9)
NETWORK = {
    "cell": "gru", "segment": 24, "units": 128, "decoder": "parallel", "dropout": 0.5, "instance_scale": True,
}  # fmt: skip
OPTIONS = ForecasterTraining(epochs=10, batch_size=256, learning_rate=3e-3, monitor="mse", members=3)
CARD = {
    "task": "hourly load and oil temperature of a transformer, with 10 %, 50 % and 90 % quantiles",
    "data": "ETTh1 (Zhou et al. 2021), 12 months to learn from",
    "license": "weights: Apache-2.0; ETT: CC BY-ND 4.0",
}


def main(
    data_dir: str,
    out: str = "runs/forecast_ett",
    horizons: tuple[int, ...] = HORIZONS,
    context: int = CONTEXT,
    validate: bool = False,
    options: ForecasterTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Train a model per horizon; returns the reports by horizon.

    Args:
        data_dir: Folder with ETTh1.csv.
        out: Folder for manifests, models and logs.
        horizons: Hours ahead, with one model for each.
        context: Hours to forecast from.
        validate: Score on months before the test months, from two origins: after 8 months and after 12.
        resume: Resume an interrupted run.
    """
    splits = ett.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    reports = {}
    for horizon in horizons:
        for months in ORIGINS if validate else ORIGINS[-1:]:
            training, valid = _origin(splits["train"][0], months)
            path = Path(out, f"ETTh1_{horizon}_after_{months}.keras" if validate else f"ETTh1_{horizon}.keras")
            model = _trained(training, valid, path, horizon, context, options, resume, network)
            report = evaluate_forecaster(model, [valid] if validate else splits["test"], season=SEASON)
            reports[(horizon, months) if validate else horizon] = report
            print(f"{horizon} hours ahead{f', VALIDATION after {months} months' * validate}:", flush=True)
            print_report(report, ett.CHANNELS)
    return reports


def _origin(year, months):
    """Split a year: the first months for training, and those after them to choose the epoch."""
    month = year.duration / ett.MONTHS["train"]
    training = replace(year, duration=months * month)
    return training, replace(year, offset=year.offset + training.duration, duration=ett.MONTHS["valid"] * month)


def _trained(training, valid, path, horizon, context, options, resume, network):
    features = RawSignal(1 / 3600, window=1, hop=1, channels=len(ett.CHANNELS), normalize="global")
    features.adapt([read_example(training)[0]])
    sizes = {"channels": features.channels, "context": context, "horizon": horizon, "quantiles": len(QUANTILES)}
    keras.utils.set_random_seed(options.seed)
    net = recurrent_forecaster(**sizes, **{**NETWORK, **network})
    model = Forecaster(features, net, context, QUANTILES, card={**CARD, "channels": list(ett.CHANNELS)})
    run = train(
        model, [training], valid=[valid], options=options, out=path, resume=resume, overwrite=not resume
    ).completed()
    return run.model


if __name__ == "__main__":
    recipe(main)
