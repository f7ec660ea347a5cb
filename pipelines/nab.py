"""NAB: what was out of order in series of servers, traffic, tweets and machines.

    python pipelines/nab.py --data-dir DIR             # one forecaster for all series, and NAB's scores
    speechrnn anomalies --model runs/nab/nab.keras SERIES.npz

DIR is NAB's repository, or the folder of its `data` and windows.json. The model learns from the first 15 % of every
series, as the benchmark allows, and hears the rest once. Beside the surprise of the forecast stand two detectors
without a model: the same likelihood of how far the value itself lies from the mean of those 15 %, and NAB's own
windowed Gaussian. By the benchmark's rule each takes the threshold that is best for the whole corpus. Settings were
chosen on the artificial series, the traffic and two of the tweets (28 of the 83 windows here).
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from speechrnn import Forecaster, ForecasterTraining, RawSignal, recurrent_forecaster, train
from speechrnn.data.corpora import nab
from speechrnn.data.examples import read_example
from speechrnn.tasks.forecasting.anomalies import NAB_PROFILES, anomaly_likelihood, nab_score, surprise

CONTEXT, HORIZON = 300, 24  # samples; of the horizon, one step is used: to forecast two hours teaches more
NETWORK = {"cell": "gru", "segment": 12, "units": 64, "dropout": 0.1}
OPTIONS = ForecasterTraining(epochs=8, batch_size=256, learning_rate=3e-3)
SHORT = 1  # samples whose error is judged
CARD = {"task": "what comes next in any series, in spreads of its first part", "data": "NAB, first 15 % of each series"}


def main(data_dir: str, out: str = "runs/nab", options: ForecasterTraining = OPTIONS, resume: bool = False, **network):
    """Train, and score each detector; gives its scores by name and profile."""
    splits = nab.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    keras.utils.set_random_seed(options.seed)
    features = RawSignal(nab.RATE, window=1, hop=1, channels=1)
    net = recurrent_forecaster(channels=1, context=CONTEXT, horizon=HORIZON, **{**NETWORK, **network})
    model = Forecaster(features, net, CONTEXT, card=CARD)
    how = {"resume": resume, "overwrite": not resume}
    run = train(model, splits["train"], options=options, out=Path(out, "nab.keras"), **how)
    if run.interrupted:
        raise KeyboardInterrupt
    model = run.model
    series = [read_example(example)[0] for example in splits["test"]]
    windows = [
        [(round(start * nab.RATE), round(end * nab.RATE) - 1) for start, end, _ in example.labels or ()]
        for example in splits["test"]
    ]
    detectors = {
        "forecast": [anomaly_likelihood(surprise(model, values), short=SHORT) for values in series],
        "value": [anomaly_likelihood(np.abs(values[:, 0]), short=SHORT) for values in series],
        "windowed Gaussian": [windowed_gaussian(values[:, 0]) for values in series],
    }
    found = {
        name: {profile: nab_score(scores, windows, profile=profile) for profile in NAB_PROFILES}
        for name, scores in detectors.items()
    }
    table = Table("Detector", *NAB_PROFILES, "windows found", "false samples", box=None)
    for name, scores in found.items():
        standard = scores["standard"]
        each = (f"{score.score:.1f}" for score in scores.values())
        table.add_row(name, *each, f"{standard.found} of {standard.windows}", str(standard.false))
    Console(highlight=False, width=110).print(table)
    return found


def windowed_gaussian(values: np.ndarray, window: int = 6400, step: int = 100) -> np.ndarray:
    """NAB's baseline: how unlikely a value is beside the up to 6,400 before it, which move on by 100 at a time."""
    found, values = np.zeros(len(values)), values.astype(np.float64)
    for i in range(1, len(values)):
        first = 0 if i <= window else (i - window) // step * step
        past = values[first : i if i <= window else first + window]
        found[i] = norm.cdf(abs(values[i] - past.mean()) / (past.std() or 1e-6))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="NAB's repository, or its data and windows.json")
    parser.add_argument("--out", default="runs/nab", help="folder for manifests, records, model and log")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    main(**vars(parser.parse_args()))
