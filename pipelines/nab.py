"""NAB: anomalies in series of servers, traffic, tweets and machines.

    python -m pipelines.nab --data-dir DIR                   # one forecaster for all series, and NAB's scores
    python -m pipelines.nab --data-dir DIR --without-model   # only what needs no training
    speechrnn anomalies --model runs/nab/nab.keras SERIES.npz

DIR is NAB's repository, or the folder of its `data` and windows.json. The model is trained on the first 15 % of every
series, as the benchmark allows, and reads the rest once. `anomaly_score` adds up value, forecast, level, spread and
spectrum, each judged by the tail of its own errors in the clean stretch and since then; its forecast is the model's or
a linear one. It is compared with the surprise of the model's forecast and with the value alone, both with the anomaly
likelihood of the literature, and with NAB's windowed Gaussian. By NAB's rules each detector uses the threshold that is
best for all scored series.

The parts of `anomaly_score` were chosen on synthetic series, and on the artificial ones, the traffic and two of the
tweets (28 of the 83 windows): a VALIDATION figure. The others are scored separately. `out` gets a plot of each series.
"""

from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from speechrnn import Forecaster, ForecasterTraining, RawSignal, recurrent_forecaster, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import nab
from speechrnn.data.examples import read_example
from speechrnn.report.plots import plot_anomalies
from speechrnn.tasks.forecasting.anomalies import NAB_PROFILES, anomaly_likelihood, nab_score, surprise
from speechrnn.tasks.forecasting.detection import anomaly_score

CONTEXT, HORIZON = 300, 24  # samples; one step of the horizon is used, but training on two hours works better
NETWORK = {"cell": "gru", "segment": 12, "units": 64, "dropout": 0.1}
OPTIONS = ForecasterTraining(epochs=8, batch_size=256, learning_rate=3e-3)
DAY = 288  # samples
SHORT = 1  # samples whose error is judged
CHOSEN_BY = ("artificial", "realTraffic", "realTweets-Twitter_volume_AAPL", "realTweets-Twitter_volume_AMZN")
CARD = {
    "task": "next values of any series, in standard deviations of its first part",
    "data": "NAB, first 15 % of each series",
}


def main(
    data_dir: str, out: str = "runs/nab", without_model: bool = False, options=OPTIONS, resume: bool = False, **network
):
    """Train, and score each detector; returns the scores by name and profile.

    Args:
        data_dir: NAB's repository, or its data and windows.json.
        out: Folder for manifests, records, model and log.
        without_model: Train nothing.
        resume: Resume an interrupted run.
    """
    splits = nab.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    series = [read_example(example)[0] for example in splits["test"]]
    windows = [
        [(round(start * nab.RATE), round(end * nab.RATE) - 1) for start, end, _ in example.labels or ()]
        for example in splits["test"]
    ]
    hints = [{"clean": nab.learned(len(values)), "season": DAY} for values in series]
    detectors = {
        "one score, linear forecast": [anomaly_score(v, **hint) for v, hint in zip(series, hints, strict=True)],
        "value": [anomaly_likelihood(np.abs(values[:, 0]), short=SHORT) for values in series],
        "windowed Gaussian": [windowed_gaussian(values[:, 0]) for values in series],
    }
    if not without_model:
        model = _trained(splits["train"], out, options, resume, network)
        surprises = [surprise(model, values) for values in series]
        detectors["surprise of the model"] = [anomaly_likelihood(each, short=SHORT) for each in surprises]
        detectors["one score, the model's forecast"] = [
            anomaly_score(v, surprise=each, **hint) for v, each, hint in zip(series, surprises, hints, strict=True)
        ]
    chosen = [example.id.startswith(CHOSEN_BY) for example in splits["test"]]
    groups = {"VALIDATION: chosen by": chosen, "others": [not each for each in chosen], "all": [True] * len(chosen)}
    results, table = {}, Table("Detector", *NAB_PROFILES, "windows found", "false samples", box=None)
    for group, members in groups.items():
        if not any(members):
            continue
        table.add_row(f"[bold]{group}")
        for name, scores in detectors.items():
            pairs = [(s, w) for s, w, member in zip(scores, windows, members, strict=True) if member]
            by_profile = {profile: nab_score(*zip(*pairs, strict=True), profile=profile) for profile in NAB_PROFILES}
            each, standard = (f"{score.score:.1f}" for score in by_profile.values()), by_profile["standard"]
            table.add_row(name, *each, f"{standard.found} of {standard.windows}", str(standard.false))
            results[group, name] = by_profile
    Console(highlight=False, width=110).print(table)
    threshold = results["all", "one score, linear forecast"]["standard"].threshold
    for example, *arrays in zip(splits["test"], series, detectors["one score, linear forecast"], windows, strict=True):
        plot_anomalies(*arrays, threshold=threshold).savefig(Path(out, f"{example.id}.png"), dpi=70)
    return results


def _trained(examples, out, options, resume, network):
    keras.utils.set_random_seed(options.seed)
    features = RawSignal(nab.RATE, window=1, hop=1, channels=1)
    net = recurrent_forecaster(channels=1, context=CONTEXT, horizon=HORIZON, **{**NETWORK, **network})
    model = Forecaster(features, net, CONTEXT, card=CARD)
    path = Path(out, "nab.keras")
    run = train(model, examples, options=options, out=path, resume=resume, overwrite=not resume).completed()
    return run.model


def windowed_gaussian(values: np.ndarray, window: int = 6400, step: int = 100) -> np.ndarray:
    """NAB's baseline: tail probability of a value given up to 6,400 before it, in a window that moves by 100."""
    index, values = np.arange(len(values)), values.astype(np.float64)
    first = np.where(index <= window, 0, (index - window) // step * step)
    last = np.where(index <= window, index, first + window)
    sums = (np.concatenate([[0.0], np.cumsum(part)]) for part in (values, values**2))
    mean, square = ((total[last] - total[first]) / np.maximum(last - first, 1) for total in sums)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.where(index > 0, norm.cdf(np.abs(values - mean) / np.where(deviation > 0, deviation, 1e-6)), 0.0)


if __name__ == "__main__":
    recipe(main)
