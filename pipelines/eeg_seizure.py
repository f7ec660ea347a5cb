"""Bonn EEG: is a segment of 23.6 s a seizure? Or which of the five sets is it from?

    python -m pipelines.eeg_seizure --data-dir DIR                 # seizures (set S) against the other four sets
    python -m pipelines.eeg_seizure --data-dir DIR --classes set   # all five sets; `state` for three states

DIR has the text files of the five sets. READ THIS BEFORE QUOTING A SCORE: it is not published which segments are of
the same person, so people cannot be kept apart, and segments of one person, or of one seizure, are probably on both
sides of any split. A score near 1, which nearly every method reaches for seizures, says that these segments are easy to
distinguish, and almost nothing about a new patient. Each fold holds out neighboring segment numbers of all five sets,
so that neighbors, which may be of the same person, stay together. Intervals are over segments, because the people are
unknown, and are therefore too narrow.

Each segment is scaled to unit variance, because the amplitude alone would identify most seizures.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import bonn
from speechrnn.tasks.classification import cross_validate, print_report

FOLDS, SAMPLES = 5, 8
NETWORK = {"convolutions": 3, "filters": 24, "kernel": 7, "pool": 2, "units": 32, "layers": 1, "dropout": 0.2}
OPTIONS = ClassifierTraining(epochs=20, batch_size=16, learning_rate=3e-3, average=0.97, class_weights="sqrt")
AUGMENTATION = Augmentation(jitter=0.05, time_warp=0.1, crop=0.5)
CARD = {
    "data": "Bonn EEG (Andrzejak et al. 2001)",
    "caution": "No subject ids are published: people are not kept apart between training and scoring.",
}


def main(
    data_dir: str,
    out: str = "runs/eeg_seizure",
    classes: Literal["seizure", "state", "set"] = "seizure",
    resume: bool = False,
    options: ClassifierTraining = OPTIONS,
    **network,
):
    """Cross-validate, report, and train a final model on all segments.

    Args:
        data_dir: Folder of the five sets.
        out: Folder for manifests, models and logs.
        classes: What to distinguish.
        resume: Resume an interrupted run.
    """
    examples = bonn.prepare(data_dir, Path(out, "manifests"), classes=classes, overwrite=True)["train"]
    names = sorted({example.label for example in examples})
    runs = np.array_split(sorted({_number(example) for example in examples}), FOLDS)

    def build():
        features = RawSignal(bonn.RATE, window=SAMPLES, hop=SAMPLES, channels=1, normalize="utterance")
        net = recurrent_classifier(
            "gru", num_features=features.num_features, num_classes=len(names), **{**NETWORK, **network}
        )
        return SequenceClassifier(features, net, names, card=CARD)

    report = cross_validate(
        build,
        examples,
        [[example for example in examples if _number(example) in run] for run in runs],
        options=options,
        augment=AUGMENTATION,
        out=Path(out, f"eeg_{classes}.keras"),
        resume=resume,
        overwrite=not resume,
    )
    print_report(report)
    return report


def _number(example):
    return int(example.id[1:])


if __name__ == "__main__":
    recipe(main)
