"""Log-mel features on this machine: librosa, Keras's layer, plain `tf.signal` and ours, in alternating runs.

`python -m benchmarks.features [--json] [--runs 15]` prints, for batches of noise as long as speech, the median time,
the median time of all processors together (steadier on a busy machine), and seconds of audio a second. "ours" is
`LogMel` with lengths, masks and normalization per utterance; "ours, bare" leaves these out, as the others do.
"""

import argparse
import json
import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import librosa
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from speechrnn.features import LogMel
from speechrnn.features.augment import Augmentation, augment_features
from speechrnn.features.perturb import change_speed

RATE, WINDOW, HOP, FFT, MELS = 16000, 400, 160, 512, 80
BATCHES = ((16, 10.0), (1, 3.0))


def librosa_log_mel(signal):
    """librosa takes signals one by one, as a loop over files does."""
    return [
        librosa.power_to_db(
            librosa.feature.melspectrogram(
                y=row, sr=RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=MELS, center=False
            )
        )
        for row in signal
    ]


def plain_log_mel(signal):
    """The recipe in TensorFlow's documentation."""
    weights = tf.signal.linear_to_mel_weight_matrix(MELS, FFT // 2 + 1, RATE, 20.0, RATE / 2)
    magnitude = tf.abs(tf.signal.stft(signal, WINDOW, HOP, FFT))
    return tf.math.log(tf.tensordot(tf.square(magnitude), weights, 1) + 1e-10)


def contenders(batch, samples):
    signal = (0.1 * np.random.default_rng(0).standard_normal((batch, samples))).astype("float32")
    tensor, length = tf.constant(signal), tf.fill([batch], samples)
    stock = keras.layers.MelSpectrogram(
        fft_length=FFT, sequence_stride=HOP, sequence_length=WINDOW, sampling_rate=RATE, num_mel_bins=MELS
    )
    graphs = {
        "keras.layers.MelSpectrogram": tf.function(stock),
        "tf.signal, plain": tf.function(plain_log_mel),
        "ours, bare": tf.function(LogMel(RATE, normalize=None)),
    }
    ours = tf.function(LogMel(RATE))
    runs = {"librosa": lambda: librosa_log_mel(signal), "ours": lambda: ours(tensor, length).numpy()}
    return runs | {name: (lambda graph=graph: graph(tensor).numpy()) for name, graph in graphs.items()}


def extras(seconds=3.0):
    """What augmentation adds for one utterance."""
    signal = (0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype("float32")
    features = LogMel(RATE)(signal)
    varied = tf.function(lambda seed: augment_features(features, Augmentation.speech(), seed))
    seed = tf.constant([1, 2])
    return {"change_speed": lambda: change_speed(signal, 0.937), "augment_features": lambda: varied(seed).numpy()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each")
    options = parser.parse_args()

    rows = []
    for batch, seconds in BATCHES:
        for name, median in measuring.alternate(contenders(batch, int(seconds * RATE)), options.runs).items():
            rows.append({"what": name, "batch": batch, "seconds": seconds, **median})
    for name, median in measuring.alternate(extras(), options.runs).items():
        rows.append({"what": name, "batch": 1, "seconds": 3.0, **median})
    for row in rows:
        row["times_real_time"] = row["batch"] * row["seconds"] / row["median_s"]
    report = {"cpus": measuring.processors(), "machine": platform.machine(), "load": os.getloadavg(), "rows": rows}
    if options.json:
        print(json.dumps(report, indent=1))
        return
    table = Table(title=f"{report['cpus']} CPUs, load {report['load'][0]:.1f}; medians of {options.runs} runs")
    for column in ("what", "batch", "ms", "CPU ms", "x real time"):
        table.add_column(column, justify="left" if column in ("what", "batch") else "right")
    for row in rows:
        table.add_row(
            row["what"], f"{row['batch']} x {row['seconds']:g} s", f"{1e3 * row['median_s']:.2f}",
            f"{1e3 * row['median_cpu_s']:.2f}", f"{row['times_real_time']:,.0f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
