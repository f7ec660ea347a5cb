"""Speech Commands: ten keywords in a stream of other words and noise, with misses and false alarms per hour.

    python -m pipelines.keyword_spotting --data-dir speech_commands_v0.02
    speechrnn spot --model runs/keyword_spotting/spotter.keras --threshold 0.9 RECORDING.wav

DIR is the corpus as published, or any folder with its layout: a folder of recordings for each word and one of noise,
`_background_noise_`. All other words are one class, noise without words is another (Warden 2018). The last 30 % of each
recording of noise are kept for validation and test; its first 20 s are added to the words in training. Each split
becomes one long stream of its words, at random distances and 5 to 20 dB above the noise. The threshold is chosen on the
validation stream, and used once on the test stream.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from speechrnn import Augmentation, ClassifierTraining, LogMel, SequenceClassifier, recurrent_classifier, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import speech_commands
from speechrnn.data.corpora.speech_commands import COMMANDS, NOISE, SILENCE, UNKNOWN
from speechrnn.data.examples import read_whole
from speechrnn.tasks.classification import Spotter, evaluate_classifier, print_report, spotting

RATE, MELS = 16000, 40
NETWORK = {"over": "spectrum", "convolutions": 2, "filters": 24, "units": 64, "layers": 1, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=20, batch_size=64, learning_rate=3e-3, average=0.99, label_smoothing=0.05, validate_every=2
)
AUGMENTATION = Augmentation.speech(
    speed=(0.85, 1.15), frequency_scale=0.15, time_mask_frames=10, frequency_mask_bins=8, noise_snr=(0.0, 25.0),
    noise_probability=0.8,
)  # fmt: skip
FALSE_PER_HOUR = 10.0
"""False alarms per hour on the validation stream that the threshold may cause."""
CARD = {
    "task": "keywords, other words and silence, 16 kHz",
    "data": "Speech Commands (Warden 2018)",
    "license": "weights: Apache-2.0; Speech Commands: CC BY 4.0",
}


def main(
    data_dir: str,
    out: str = "runs/keyword_spotting",
    commands: Sequence[str] = COMMANDS,
    options: ClassifierTraining = OPTIONS,
    false_per_hour: float = FALSE_PER_HOUR,
    resume: bool = False,
    **network,
):
    """Train, and report by class and on the stream of the test split; returns both results.

    Args:
        data_dir: The corpus's folder.
        out: Folder for manifests, model and logs.
        commands: The keywords.
        resume: Resume an interrupted run.
    """
    splits = speech_commands.prepare(data_dir, Path(out, "manifests"), commands=commands, overwrite=True)
    keras.utils.set_random_seed(options.seed)
    features, classes = LogMel(RATE, num_mels=MELS), [*commands, UNKNOWN, SILENCE]
    net = recurrent_classifier(
        "gru", num_features=features.num_features, num_classes=len(classes), **{**NETWORK, **network}
    )
    run = train(
        SequenceClassifier(features, net, classes, card=CARD),
        splits["train"],
        valid=splits["valid"],
        options=options,
        augment=replace(AUGMENTATION, noise_folder=str(Path(data_dir, NOISE))),
        out=Path(out, "spotter.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    report = evaluate_classifier(run.model, splits["test"])
    print_report(report)
    threshold_chosen = spotting.best_threshold(points(run.model, splits["valid"], options.seed), false_per_hour)
    test = points(run.model, splits["test"], options.seed)
    for threshold, point in test.items():
        if threshold == threshold_chosen or round(100 * threshold) % 10 == 0:
            mark = "  <- chosen on the validation stream" if threshold == threshold_chosen else ""
            print(
                f"threshold {threshold:.2f}: {point.said - point.found} of {point.said} missed "
                f"({100 * point.missed:.1f} %), {point.false_per_hour:.1f} false alarms per hour{mark}"
            )
    return report, test[threshold_chosen]


def points(model, examples, seed):
    """Count misses and false alarms by threshold in the stream of a split."""
    rng = np.random.default_rng(seed)
    order = [examples[i] for i in rng.permutation(len(examples))]
    clips = [(read_whole(example, RATE), example.label) for example in order]
    words = [(signal, label) for signal, label in clips if label != SILENCE]
    noise = np.concatenate([signal for signal, label in clips if label == SILENCE])
    stream, spoken = spotting.spoken_stream(words, noise, RATE, rng)
    spotter = Spotter(model)
    spotter.push(stream)
    spotter.finish()
    return spotting.operating_points(spotter.probabilities, spoken, len(stream) / RATE, model.classes)


if __name__ == "__main__":
    recipe(main)
