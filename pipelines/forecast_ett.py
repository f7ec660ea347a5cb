"""ETT: the load and oil temperature of a transformer up to a month ahead, with an interval.

    python -m pipelines.forecast_ett --data-dir DIR       # 96, 192, 336 and 720 hours ahead, on the test months
    python -m pipelines.forecast_ett --data-dir DIR --horizons 96 --validate   # on the validation months instead
    speechrnn forecast --model runs/forecast_ett/ETTh1_96.keras NEW.csv

DIR has ETTh1.csv as published. An encoder reads 30 days in segments of two days, and a decoder forecasts segment by
segment; they share one GRU. Everything was chosen on the validation months at 96 hours, and is the same for all
horizons; the epoch is chosen on these months too. The forecasts of several models with different seeds are averaged.
The test months are used once, with every window.
"""

from pathlib import Path

import keras

from speechrnn import Forecaster, ForecasterTraining, RawSignal, recurrent_forecaster, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import ett
from speechrnn.data.examples import read_example
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster, print_report

HORIZONS, CONTEXT, SEASON = (96, 192, 336, 720), 720, 24
QUANTILES = (0.1, 0.5, 0.9)
NETWORK = {"cell": "gru", "segment": 48, "units": 128, "decoder": "recurrent", "dropout": 0.5}
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
    validate: bool = False,
    options: ForecasterTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Train a model for each horizon; gives a report each, by horizon.

    Args:
        data_dir: Folder with ETTh1.csv.
        out: Folder for manifests, models and logs.
        horizons: Hours ahead, with one model for each.
        validate: Score on the validation months.
        resume: Resume an interrupted run.
    """
    splits = ett.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    reports = {}
    for horizon in horizons:
        features = RawSignal(1 / 3600, window=1, hop=1, channels=len(ett.CHANNELS), normalize="global")
        features.adapt(read_example(example)[0] for example in splits["train"])
        sizes = {"channels": features.channels, "context": CONTEXT, "horizon": horizon, "quantiles": len(QUANTILES)}
        keras.utils.set_random_seed(options.seed)
        net = recurrent_forecaster(**sizes, **{**NETWORK, **network})
        run = train(
            Forecaster(features, net, CONTEXT, QUANTILES, card={**CARD, "channels": list(ett.CHANNELS)}),
            splits["train"],
            valid=splits["valid"],
            options=options,
            out=Path(out, f"ETTh1_{horizon}.keras"),
            resume=resume,
            overwrite=not resume,
        )
        if run.interrupted:
            raise KeyboardInterrupt  # half a run is no result; `resume` goes on
        scored = splits["valid" if validate else "test"]
        reports[horizon] = evaluate_forecaster(run.model, scored, season=SEASON)
        print(f"{horizon} hours ahead:", flush=True)
        print_report(reports[horizon], ett.CHANNELS)
    return reports


if __name__ == "__main__":
    recipe(main)
