"""Gradients that vanish and explode through time, and what helps: `python -m pipelines.gradient_flow --out DIR`.
Tasks after Bengio et al. (1994) and Hochreiter and Schmidhuber (1997); solved means a tenth of the naive loss.
"""

import time
from pathlib import Path

import keras
import numpy as np
from keras.initializers import Identity, Orthogonal, RandomNormal
from keras.optimizers.schedules import CosineDecay
from rich.console import Console
from rich.table import Table

from speechrnn.cli.scripts import recipe
from speechrnn.layers import GRU, LSTM, ChronoBias, LengthMask, SimpleRNN, StackFrames
from speechrnn.report import plots
from speechrnn.training import GuardedAdamW, Segments
from speechrnn.training.diagnostics import gradient_flow

UNITS, BATCH, SEED, LAG, STEPS, TEST_ROWS = 32, 32, 1, 400, 1200, 4000


def recall(rng, rows, lag):
    """The first value, after `lag` steps of noise; without memory the loss is 1/12."""
    x = rng.normal(scale=0.05, size=(rows, lag + 1, 1))
    x[:, 0, 0] = rng.uniform(size=rows)
    return x.astype("float32"), x[:, 0].astype("float32")


def adding(rng, rows, steps):
    """The sum of the two values that a second channel marks, one in each half; without memory the loss is 1/6."""
    x = np.stack([rng.uniform(size=(rows, steps)), np.zeros((rows, steps))], axis=2)
    for half in (rng.integers(0, steps // 2, rows), rng.integers(steps // 2, steps, rows)):
        x[np.arange(rows), half, 1] = 1
    return x.astype("float32"), (x[..., 0] * x[..., 1]).sum(1, keepdims=True).astype("float32")


def simple(recurrent, scale=0.05, **options):
    return SimpleRNN(UNITS, recurrent_initializer=recurrent, kernel_initializer=RandomNormal(stddev=scale), **options)


def opened(cell, lag):
    return cell(UNITS, bias_initializer=ChronoBias(lag), **({"unit_forget_bias": False} if cell is LSTM else {}))


def studies(lag):
    """(task, lag, name, layers, clip, learning rate)."""
    short = lag // 4
    yield recall, short, "SimpleRNN, radius 0.8", [simple(Orthogonal(0.8))], 1.0, 1e-3
    yield recall, short, "SimpleRNN, orthogonal", [simple(Orthogonal())], 1.0, 1e-3
    yield recall, short, "SimpleRNN, identity", [simple(Identity())], 1.0, 3e-4
    yield recall, short, "radius 0.8, skips of 10 frames", [StackFrames(10), simple(Orthogonal(0.8))], 1.0, 1e-3
    yield adding, lag, "SimpleRNN, orthogonal", [simple(Orthogonal())], 1.0, 1e-3
    yield adding, lag, "LSTM, as it comes", [LSTM(UNITS)], 1.0, 1e-2
    yield adding, lag, "LSTM, gates open for the lag", [opened(LSTM, lag)], 1.0, 1e-2
    yield adding, lag, "GRU, as it comes", [GRU(UNITS)], 1.0, 1e-2
    yield adding, lag, "GRU, gates open for the lag", [opened(GRU, lag)], 1.0, 1e-2


def study(task, lag, name, layers, clip, rate, *, steps, test_rows):
    """Train on new examples at each step; returns the gradient flow before and after, and the test loss."""
    keras.utils.set_random_seed(SEED)
    rng, started = np.random.default_rng(SEED), time.perf_counter()
    x, y = task(np.random.default_rng(SEED + 1), test_rows, lag)
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers, keras.layers.Dense(1)])
    model.compile(GuardedAdamW(CosineDecay(rate, steps), max_norm=clip), "mse", jit_compile=False)
    (before,), curve, part = gradient_flow(model, x[:8]).values(), {}, min(steps, 50)
    for step in range(part, steps + 1, part):
        run = model.fit(*task(rng, BATCH * part, lag), batch_size=BATCH, verbose=0)
        curve[step] = run.history["loss"][0]
    (after,), loss = gradient_flow(model, x[:8]).values(), np.mean(np.square(model.predict(x, verbose=0) - y))
    return task.__name__, lag, name, before, after, curve, float(loss), float(np.var(y)), time.perf_counter() - started


def echo(name, segment, clip, epochs, steps, sequences, back=3):
    """Train a network of radius 2 by plain gradient descent to repeat the input of `back` steps ago, in segments."""
    keras.utils.set_random_seed(SEED)
    started, x = time.perf_counter(), np.random.default_rng(SEED).uniform(-1, 1, (sequences, steps, 1))
    y = np.concatenate([np.zeros((sequences, back, 1)), x[:, :-back]], axis=1)
    parts = Segments(list(x), list(y), length=segment, batch_size=BATCH)
    features = keras.Input(batch_shape=(BATCH, segment, 1), name="features")
    frames = keras.Input(batch_shape=(BATCH,), dtype="int32", name="frames")
    layer = simple(RandomNormal(stddev=2 / UNITS**0.5), 0.3, return_sequences=True, stateful=True)
    hidden = layer(features, mask=LengthMask()(frames, features))
    model = keras.Model({"features": features, "frames": frames}, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=clip or None), "mse", jit_compile=False)
    (before,) = gradient_flow(model, next(iter(parts))).values()
    losses = model.fit(parts.dataset(), epochs=epochs, shuffle=False, verbose=0, callbacks=[parts.resets()]).history
    (after,) = gradient_flow(model, next(iter(parts))).values()
    curve = {len(parts) * epoch: loss for epoch, loss in enumerate(losses["loss"], 1)}
    seconds, loss = time.perf_counter() - started, losses["loss"][-1]
    return "echo", back, name, before, after, curve, loss, float(np.var(y)), seconds


def main(out: str = "runs/gradients", *, lag=LAG, steps=STEPS, test_rows=TEST_ROWS, epochs=12, sequences=960):
    """Run every study; prints a table, and writes two figures to `out`.

    Args:
        out: Folder for the figures."""
    rows = [study(*options, steps=steps, test_rows=test_rows) for options in studies(lag)]
    rows.append(echo("SimpleRNN, radius 2", lag // 2, 0.0, epochs, lag // 2, sequences))
    rows.append(echo("SimpleRNN, radius 2, clipped", lag // 2, 0.5, epochs, lag // 2, sequences))
    rows.append(echo("radius 2, segments of 10 steps", 10, 0.0, -(-epochs // 3), lag // 2, sequences))
    table = Table("task", "lag", "network", "untrained", "trained", "loss", "naive", "solved", "s")
    for task, distance, name, before, after, _, loss, naive, seconds in rows:
        states = (f"{flow.verdict().state} {flow.per_step:.2f}" for flow in (before, after))
        figures = f"{loss:.4f}", f"{naive:.3f}", "yes" if loss < naive / 10 else "no", f"{seconds:.0f}"
        table.add_row(task, str(distance), name, *states, *figures)
    Console(width=130).print(table)
    Path(out).mkdir(parents=True, exist_ok=True)
    flows = {f"{row[2]} ({row[0]})": row[3] for row in rows if "clipped" not in row[2]}
    plots.plot_gradient_flow(flows).savefig(Path(out, "gradient_norms.png"), dpi=150)
    curves = {task: {row[2]: row[5] for row in rows if row[0] == task} for task in ("recall", "adding", "echo")}
    plots.plot_losses(curves, naive={row[0]: row[7] for row in rows}).savefig(Path(out, "learning_curves.png"), dpi=150)
    return rows


if __name__ == "__main__":
    recipe(main)
