"""CTC loss and gradient: `keras.losses.CTC`, PyTorch where it is installed, and ours.

    python -m benchmarks.ctc [--json]

Medians of alternating runs in one process; every peer gets the same logits and labels, all rows full length, since
Keras's loss knows no lengths.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from benchmarks import comparing_losses, measuring
from speechrnn import losses


def contenders(batch, frames, labels, vocabulary):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, frames, vocabulary)).astype("float32")
    target = rng.integers(1, vocabulary, (batch, labels)).astype("int32")
    x, y, lengths = tf.constant(logits), tf.constant(target), tf.fill([batch], frames)

    stock = keras.losses.CTC()
    found = {
        "speechrnn": comparing_losses.stepper(lambda: losses.CTC()(y, x, None, lengths), x),
        "Keras": comparing_losses.stepper(lambda: stock(y, x), x),
    }
    try:
        import torch
    except ImportError:
        return found
    torch.set_num_threads(measuring.processors())
    z = torch.tensor(logits).transpose(0, 1).contiguous().requires_grad_()
    targets, sizes = torch.tensor(target), torch.full((batch,), frames)
    counts = torch.full((batch,), labels)

    def peer():
        z.grad = None
        value = torch.nn.functional.ctc_loss(z.log_softmax(-1), targets, sizes, counts, reduction="none").mean()
        value.backward()
        return value.item()

    return {**found, "PyTorch": peer}


if __name__ == "__main__":
    comparing_losses.main(__doc__, "CTC", contenders, batch=16, frames=400, labels=40, vocabulary=29)
