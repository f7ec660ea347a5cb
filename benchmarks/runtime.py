"""Inference without TensorFlow beside Keras's `predict` and PyTorch, and how long a transcript takes from a cold start.

    python -m benchmarks.runtime --json runtime.json
    python -m benchmarks.runtime --an4 DIR          # and the real-time factor over AN4's test set

Medians of alternating runs in one process, so that a busy machine slows all of them alike; read the ratios.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from speechrnn import LogMel, SpeechRecognizer, Vocabulary, audio, recurrent_ctc
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.writing import export, quantized
from speechrnn.runtime.onnxfile import OnnxFile
from speechrnn.runtime.session import start
from speechrnn.tasks.recognition.session import RecognizerSession as Session

try:
    import torch
except ImportError:
    torch = None

FEATURES = 80
CLIP_SECONDS = 4.0
STACKS = [("lstm", 1, "3 x BiLSTM, batch 1"), ("gru", 1, "3 x BiGRU, batch 1"), ("lstm", 16, "3 x BiLSTM, batch 16")]
COLD_KERAS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from speechrnn import audio, decoding, recognizer
model = load_bundle(sys.argv[1], kind="recognizer")
signal, _ = audio.read(sys.argv[2], sample_rate=model.sample_rate)
path = decoding.greedy(model.logits([signal])[0])
print(model.vocabulary.decode(path.ids))
"""


def stack(cell: str, args) -> keras.Model:
    """Bare bidirectional layers of stock Keras."""
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    x = inputs = keras.Input((None, FEATURES))
    for _ in range(args.layers):
        x = keras.layers.Bidirectional(layer(args.units, return_sequences=True))(x)
    return keras.Model(inputs, x)


def runs(cell: str, batch: int, args) -> dict[str, Callable[[], object]]:
    """The same layers, run by each contender."""
    values = np.random.default_rng(0).normal(size=(batch, args.frames, FEATURES)).astype("float32")
    network = stack(cell, args)
    graph = Graph("stack")
    (output,) = write_network(graph, network, [graph.input("x", "float32", ("batch", "frames", FEATURES))])
    graph.output(output, "y", "float32", ("batch", "frames", 2 * args.units))
    model = graph.model({})
    session = start(OnnxFile(model.SerializeToString(), {}, "stack"))
    expected, found = network.predict(values, verbose=0), session.run(None, {"x": values})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    made = {"onnx": lambda: session.run(None, {"x": values})}
    if cell == "lstm":
        small = start(OnnxFile(quantized(model).SerializeToString(), {}, "stack"))
        made["onnx int8"] = lambda: small.run(None, {"x": values})
    made["Keras predict"] = lambda: network.predict(values, batch_size=batch, verbose=0)
    if torch is not None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](
            FEATURES, args.units, args.layers, bidirectional=True, batch_first=True
        )
        tensor = torch.from_numpy(values)

        def infer():
            with torch.inference_mode():
                module(tensor)

        made["PyTorch"] = infer
    return made


def recognizer(args) -> SpeechRecognizer:
    """A whole recognizer of the usual size; what it has learned does not matter to the clock."""
    features, vocabulary = LogMel(16000), Vocabulary(" abcdefghijklmnopqrstuvwxyz")
    network = recurrent_ctc(
        num_features=FEATURES, vocabulary_size=len(vocabulary), units=args.units, layers=args.layers, convolutions=2
    )
    return SpeechRecognizer(features, network, vocabulary)


def whole_models(args, folder: Path) -> dict[str, Callable[[], object]]:
    """Signal to logits of one clip."""
    model = recognizer(args)
    model.save(folder / "model.keras")
    signal = np.random.default_rng(0).normal(size=round(CLIP_SECONDS * 16000)).astype("float32") * 0.1
    audio.write(folder / "clip.wav", np.clip(signal, -1, 1), 16000)
    sessions = {
        name: Session(export(model, folder / f"{name}.onnx", int8=name == "int8")) for name in ("float32", "int8")
    }
    batch = {"signal": signal[None], "length": np.array([len(signal)], "int32")}
    return {
        "onnx": lambda: sessions["float32"].logits([signal]),
        "onnx int8": lambda: sessions["int8"].logits([signal]),
        "speechrnn.tasks.recognition.model": lambda: model.logits([signal]),
        "Keras predict": lambda: model.predict(batch, verbose=0),
    }


def cold_starts(folder: Path) -> dict[str, Callable[[], object]]:
    """Whole processes, from nothing to a text."""
    clip = str(folder / "clip.wav")
    verb = [sys.executable, "-m", "speechrnn", "transcribe", clip]
    script = [sys.executable, "-c", COLD_KERAS, str(folder / "model.keras"), clip]
    return {
        "speechrnn transcribe, shipped": lambda: subprocess.run(verb, check=True, capture_output=True),
        "the same model size, int8": lambda: subprocess.run(
            [*verb, "--model", str(folder / "int8.onnx")], check=True, capture_output=True
        ),
        "script: .keras": lambda: subprocess.run(script, check=True, capture_output=True),
    }


def real_time_factor(folder: str) -> dict[str, float]:
    """Seconds of audio a second, over AN4's test set with the shipped model, decoding included."""
    from speechrnn.data.corpora import an4
    from speechrnn.models.loading import shipped
    from speechrnn.tasks.recognition.evaluation import evaluate

    with tempfile.TemporaryDirectory() as manifests:
        examples = an4.prepare(folder, manifests)["test"]
        report = evaluate(Session(shipped()), examples)
    return {"audio": report.seconds, "elapsed": report.elapsed, "factor": report.real_time_factor}


def show(title: str, contenders: dict[str, Callable[[], object]], args, repeats: int) -> dict[str, float]:
    """Time each in turn, print the comparison, and give the seconds."""
    found = measuring.alternate(contenders, repeats)
    times = {name: row["best_s" if args.least else "median_s"] for name, row in found.items()}
    table = Table(title, box=None)
    for heading in ("ms", "of Keras", "of PyTorch"):
        table.add_column(heading, justify="right")
    keras_time = times.get("Keras predict", times.get("script: .keras", 1.0))
    for run, seconds in times.items():
        torch_ratio = f"{seconds / times['PyTorch']:.2f}" if "PyTorch" in times else ""
        table.add_row(run, f"{1000 * seconds:.1f}", f"{seconds / keras_time:.3f}", torch_ratio)
    Console().print(table)
    return times


def main(args) -> dict:
    """Measure, print, and give the numbers."""
    found = {}
    if "stacks" in args.what:
        for cell, batch, title in STACKS:
            found[f"{title}, {args.frames} frames"] = show(title, runs(cell, batch, args), args, args.repeats)
    with tempfile.TemporaryDirectory() as name:
        whole = whole_models(args, Path(name))
        if "whole" in args.what:
            found["whole model, 4 s"] = show("whole model, 4 s", whole, args, args.repeats)
        if "cold" in args.what:
            found["cold process, 4 s"] = show("cold process, 4 s", cold_starts(Path(name)), args, args.cold)
    if args.an4:
        found["AN4 test"] = real_time_factor(args.an4)
        print(f"AN4 test: {1 / found['AN4 test']['factor']:.0f} times real time")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=("stacks", "whole", "cold"), default=("stacks", "whole", "cold"))
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--least", action="store_true", help="least times and not medians, for a machine that is busy")
    parser.add_argument("--cold", type=int, default=3, help="cold starts of each")
    parser.add_argument("--an4", metavar="DIR", help="AN4's official tree, for the real-time factor")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    results = main(given)
    if given.json:
        Path(given.json).write_text(json.dumps({"machine": platform.processor(), "seconds": results}, indent=1))
