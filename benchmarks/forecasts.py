"""A forecaster beside exponential smoothing (AutoETS) and the Theta method of statsforecast, on the same windows.

    python -m benchmarks.forecasts MODEL MANIFEST --season 24 [--every 96] [--json FILE]

Needs `pip install statsforecast`. Each method sees the context of a window, one channel at a time, and forecasts what
the model forecasts, with its 80 % interval. Errors are in standard deviations of the training series, as
`speechrnn evaluate` gives them; intervals are over blocks of windows. Every window is fitted anew, so that one in
`--every` samples is enough: neighbors share most of their samples.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import speechrnn as sr
from benchmarks import measuring
from speechrnn.data import manifest
from speechrnn.tasks.forecasting.evaluation import evaluate_forecaster

METHODS = ("AutoETS", "AutoTheta")


class Method:
    """A method of statsforecast that can be evaluated as a forecaster is."""

    def __init__(self, name, like, season):
        from statsforecast import models

        self.name, self.how = name, getattr(models, name)(season_length=season)
        for known in ("kind", "context", "horizon", "channels", "sample_rate", "known", "calendar", "scale", "median"):
            setattr(self, known, getattr(like, known))
        self.quantiles = tuple(like.quantiles)
        if len(self.quantiles) != 3 or self.quantiles[1] != 0.5:
            raise SystemExit(f"The model must have three quantiles around the median. Received: {self.quantiles}.")

    def predict_quantiles(self, past):
        """float64 `(windows, horizon, channels, 3)` from float32 `(windows, context, channels)`."""
        import pandas as pd
        from statsforecast import StatsForecast

        windows, samples, channels = past.shape
        rows = past.transpose(0, 2, 1).reshape(-1)
        ids = np.repeat(np.arange(windows * channels), samples)
        table = pd.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(samples), windows * channels), "y": rows})
        level = round(100 * (self.quantiles[2] - self.quantiles[0]), 6)
        found = StatsForecast(models=[self.how], freq=1).forecast(df=table, h=self.horizon, level=[level])
        columns = [next(c for c in found if c.startswith(f"{self.name}-lo")), self.name,
                   next(c for c in found if c.startswith(f"{self.name}-hi"))]  # fmt: skip
        values = found.sort_values(["unique_id", "ds"])[columns].to_numpy()
        return values.reshape(windows, channels, self.horizon, 3).transpose(0, 2, 1, 3)


def main(model, path, season, every, methods):
    """A row for each method, and one for the model."""
    ours, examples, rows = sr.load(model), manifest.read(path), []
    for name in ("speechrnn", *methods):
        start = time.perf_counter()
        judged = ours if name == "speechrnn" else Method(name, ours, season)
        report = evaluate_forecaster(judged, examples, season=season, every=every)
        rows.append({"name": name, "windows": report.windows, "horizon": report.horizon, "figures": report.figures,
                     "intervals": report.intervals, "seconds": time.perf_counter() - start})  # fmt: skip
        print(f"{name}: {report} {rows[-1]['seconds']:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a forecaster, .keras or .onnx")
    parser.add_argument("manifest", help="series to forecast")
    parser.add_argument("--season", type=int, required=True, help="samples of a season")
    parser.add_argument("--every", type=int, default=96, help="one window in so many samples")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    args = parser.parse_args()
    found = main(args.model, args.manifest, args.season, args.every, args.methods)
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": measuring.machine(), "rows": found}, indent=1))
