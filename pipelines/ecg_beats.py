"""MIT-BIH: the AAMI class of every heartbeat of new patients, 64 beats at once.

    python -m pipelines.ecg_beats --data-dir DIR   # cross-validates over patients, then trains on all of them
    speechrnn evaluate --model runs/ecg_beats/beats.keras runs/ecg_beats/manifests/test.jsonl

DIR has the database's records. Only de Chazal's DS1 is used for training; `test.jsonl` is DS2, if DIR has it. With only
22 patients a network memorizes their hearts, so it reads no samples and is also trained on copies of the records: with
another rhythm (`vary_rhythm`), with leads placed elsewhere (`vary_leads`), and of simulated patients with mostly
premature beats (`vary_majority`, or `shorten_normal`, which removes normal stretches), of whom DS1 has none. Which
copies are made, and the size of the network, are chosen inside each fold, on held-out patients and patients simulated
from them; the printed figure is of patients not used for any choice. The answers of three models with different seeds
are averaged.
"""

from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from zlib import crc32

import numpy as np

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier, signals
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import heartbeats, mitdb, patients
from speechrnn.tasks.classification import Setting, cross_validate, print_report

FOLDS = 5  # so that the two patients of DS1 with fibrillation are in different folds
CHUNK = 64  # beats of an example
COPIES = {
    "rhythms": tuple(f"rhythm-{i}" for i in range(6)),
    "majority": (*(f"{kind}-{i}" for kind in ("rhythm", "majority") for i in range(3)), "short-0"),
}
"""Copies of the records to train on, by name."""
SIMULATED = {"simulated-patients": "majority-0", "shortened-patients": "short-0"}
SETTINGS = {"rhythms": ("rhythms", 24), "majority": ("majority", 24), "large": ("majority", 96)}
"""The settings to choose from: copies and units."""
NETWORK = {"layers": 1, "dropout": 0.3}
# Two runs that differ in their seed alone differ by 0.03.
OPTIONS = ClassifierTraining(
    epochs=1, batch_size=8, learning_rate=2e-3, average=0.99, class_weights=("F=0.5", "Q=0"), members=3
)
AUGMENTATION = Augmentation(feature_noise=0.3)
CARD = {
    "task": "class of every heartbeat: normal, supraventricular, ventricular, fusion, unknown (AAMI)",
    "data": "MIT-BIH Arrhythmia, the 22 records of DS1 (Moody and Mark 2001; de Chazal et al. 2004)",
    "license": "weights: Apache-2.0; MIT-BIH: ODC-By 1.0",
    "scheme": "aami",
}


def varied(examples, folder, copies):
    """Create copies of the records by name: of the same or simulated patients, with other lead positions."""
    copied = {copy: [] for copy in copies}
    for path, group in groupby(examples, key=lambda example: example.path):
        group = list(group)
        with np.load(path) as file:
            beats, seconds = file["beats"], file["seconds"]
        classes = [label for example in group for label in example.labels]
        for copy in copies:
            rng = np.random.default_rng([OPTIONS.seed, crc32(copy.encode()), int(Path(path).stem)])
            changed, _, labels = patients.copied(copy, beats, seconds, classes, rng)
            if not labels:
                continue
            file_path = Path(folder, f"{Path(path).stem}-{copy}.npz")
            signals.write(file_path, changed, 1.0, overwrite=True)
            for start in range(0, len(labels), CHUNK):
                part = tuple(labels[start : start + CHUNK])
                span = {"offset": float(start), "duration": float(len(part)), "id": f"{file_path.stem}-{start:04d}"}
                copied[copy].append(replace(group[0], path=str(file_path), labels=part, **span))
    return copied


def main(
    data_dir: str, out: str = "runs/ecg_beats", folds: int = FOLDS, options=OPTIONS, resume: bool = False, **network
):
    """Cross-validate over patients, then train on all of DS1; returns the report of all folds.

    Args:
        data_dir: MIT-BIH's records.
        out: Folder for manifests, model and logs.
        folds: Groups of patients to leave out in turn.
        resume: Resume an interrupted run.
    """
    training = mitdb.prepare(data_dir, Path(out, "manifests"), overwrite=True)["train"]
    wanted = dict.fromkeys(copy for several in (*COPIES.values(), SIMULATED.values()) for copy in several)
    copies = varied(training, Path(out, "varied"), wanted)
    features = RawSignal(1, window=1, hop=1, channels=heartbeats.NUM_FEATURES)

    def build(units):
        sizes = {"num_features": features.num_features, "num_classes": len(mitdb.CLASSES), "pooling": None}
        net = recurrent_classifier("gru", **{**sizes, "units": units, **NETWORK, **network})
        return SequenceClassifier(features, net, mitdb.CLASSES, card=CARD)

    def copies_of(examples, wanted):
        patients = {example.subject for example in examples}
        return [example for copy in wanted for example in copies[copy] if example.subject in patients]

    def with_copies(wanted):
        return lambda examples: [*examples, *copies_of(examples, wanted)]

    report = cross_validate(
        {name: Setting(partial(build, n), vary=with_copies(COPIES[kind])) for name, (kind, n) in SETTINGS.items()},
        training,
        folds,
        out=Path(out, "beats.keras"),
        options=options,
        augment=AUGMENTATION,
        choose_by="j_kappa",
        judge_on=with_copies(SIMULATED.values()),
        also_on={name: partial(copies_of, wanted=[copy]) for name, copy in SIMULATED.items()},
        resume=resume,
        overwrite=not resume,
    )
    print_report(report, per_subject=True)
    return report


if __name__ == "__main__":
    recipe(main)
