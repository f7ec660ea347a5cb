"""The whole training loop (input pipeline, step, metrics, callbacks) beside its step alone.

    python -m benchmarks.loop [--json]

Trains 3 x BiLSTM-256 on the corpus that is embedded in the repository. The step alone is forward pass, CTC, gradients
and the optimizer on the same batches, ready in memory; the loop is an epoch of `speechrnn.train` after the first.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from speechrnn import Augmentation, LogMel, SpeechRecognizer, TrainingOptions, Vocabulary, recurrent_ctc, train
from speechrnn.data import manifest
from speechrnn.pipeline import batches

DATA = Path(__file__).parent.parent / "data" / "spoken_numbers" / "train.jsonl"
BATCH = 16


class _Epochs(keras.callbacks.Callback):
    """Seconds of each epoch's batches, without what happens at its end; the plain step's time after each."""

    def __init__(self, data):
        super().__init__()
        self.data, self.loop, self.alone = data, [], []

    def on_train_begin(self, logs=None):
        model = self.model

        @tf.function(reduce_retracing=True)
        def step(x, y, weight):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x, y, model(x, training=True), weight)
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        self.step = step

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.ended = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.loop.append(self.ended - self.started)
        started = time.perf_counter()
        for batch in self.data:
            float(self.step(*batch))
        self.alone.append(time.perf_counter() - started)


def rows(limit=256, repeats=3, units=256):
    """Median seconds of an epoch in the loop, and of its steps alone, in turns."""
    examples = manifest.read(DATA)[:limit]
    vocabulary, features = Vocabulary.from_texts(example.text for example in examples), LogMel(16_000)
    network = recurrent_ctc("lstm", num_features=80, vocabulary_size=len(vocabulary), units=units, layers=3)
    model = SpeechRecognizer(features, network, vocabulary)
    data = list(batches(examples, features, vocabulary, batch_size=BATCH, shuffle=True, seed=1))
    watch = _Epochs(data)
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingOptions(epochs=repeats + 1, batch_size=BATCH)
        train(
            model, examples, out=f"{folder}/model.keras", options=options, augment=Augmentation.speech(),
            callbacks=[watch], verbose=False,
        )  # fmt: skip
    what = f"one epoch of {len(examples)} utterances in {len(data)} batches"
    loop, alone = watch.loop[1:], watch.alone[1:]  # the first compiles
    ratio = statistics.median(a / b for a, b in zip(loop, alone, strict=True))
    return [
        {
            "what": what,
            "name": "speechrnn train, with augmentation",
            "median_s": statistics.median(loop),
            "ratio": ratio,
        },
        {"what": what, "name": "the step alone", "median_s": statistics.median(alone)},
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    for name, value in (("limit", 256), ("repeats", 3), ("units", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    found = rows(**options)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(f"{row['name']}: {row['median_s']:.2f} s" + (f", {row['ratio']:.3f} of it" if "ratio" in row else ""))


if __name__ == "__main__":
    main()
