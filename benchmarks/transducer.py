"""Transducer loss and gradient: torchaudio's where it is installed, and ours.

    python -m benchmarks.transducer [--json]

Medians of alternating runs in one process; every peer gets the same logits and labels, all rows full length.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf

from benchmarks import comparing_losses, measuring
from speechrnn import losses


def contenders(batch, frames, labels, vocabulary):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, frames, labels + 1, vocabulary)).astype("float32")
    target = rng.integers(1, vocabulary, (batch, labels)).astype("int32")
    x, y, lengths = tf.constant(logits), tf.constant(target), tf.fill([batch], frames)

    found = {"speechrnn": comparing_losses.stepper(lambda: losses.Transducer()(y, x, None, lengths), x)}
    try:
        import torch
        import torchaudio
    except ImportError:
        return found
    torch.set_num_threads(measuring.processors())
    z, targets = torch.tensor(logits).requires_grad_(), torch.tensor(target)
    sizes, counts = (torch.full((batch,), size, dtype=torch.int32) for size in (frames, labels))

    def peer():
        z.grad = None
        value = torchaudio.functional.rnnt_loss(z, targets, sizes, counts, blank=0)
        value.backward()
        return value.item()

    return {**found, "torchaudio": peer}


if __name__ == "__main__":
    comparing_losses.main(__doc__, "transducer", contenders, batch=8, frames=100, labels=30, vocabulary=29)
