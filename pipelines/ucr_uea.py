"""Any data set of the UCR and UEA archives: official split, one recipe for all of them, the mean of three seeds.

    python pipelines/ucr_uea.py --data-dir DIR NATOPS RacketSports             # a model a seed, on the official test
    python pipelines/ucr_uea.py --data-dir DIR NATOPS RacketSports --validate  # folds of the training set instead

DIR holds NAME_TRAIN and NAME_TEST (`.ts`, `.tsv` or `.txt`), or a folder a data set, as both archives are published
and as the package aeon has some of them in `aeon/datasets/data`. Network and options are the same for every data set:
nothing was chosen by the official test sets, which are answered once, by the average of the last weights. A training
set counts as many steps whether it has 23 records or 270, since a small one is repeated, each copy varied anew.
"""

import dataclasses
import math
from pathlib import Path

import keras

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import ucr
from speechrnn.data.examples import read_example
from speechrnn.data.manifest import stratified_group_folds
from speechrnn.tasks.classification import classification_report, cross_validate, evaluate_classifier

SEEDS, FOLDS = (1, 2, 3), 5
RECORDS = 480  # in an epoch, at least
NETWORK = {"convolutions": 2, "filters": 48, "kernel": 7, "units": 48, "layers": 1, "heads": 2, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=20, batch_size=16, learning_rate=3e-3, average=0.99, label_smoothing=0.05, mixup=0.2, weight_decay=0.05
)
AUGMENTATION = Augmentation(jitter=0.05, scaling=0.1, time_warp=0.15)
CARD = {"license": "weights: Apache-2.0; data: terms of the UCR and UEA archives"}


def main(
    data_dir: str,
    names: list[str],
    out: str = "runs/ucr_uea",
    validate: bool = False,
    seeds: tuple[int, ...] = SEEDS,
    options: ClassifierTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Train on each data set with every seed; gives a report a data set, which holds the answers of all seeds.

    Args:
        data_dir: Folder of the archive, or of some of its data sets.
        names: Data sets, such as NATOPS.
        out: Folder for manifests and models.
        validate: Score on parts of the training set instead.
        resume: Go on with a run that was stopped.
    """
    reports, how = {}, {"resume": resume, "overwrite": not resume}
    for name in names:
        splits = ucr.prepare(data_dir, Path(out, name), name=name, overwrite=True)
        learn = _cross_validated if validate else _tested
        each = [(Path(out, f"{name}_{seed}.keras"), dataclasses.replace(options, seed=seed)) for seed in seeds]
        runs = [learn(splits, path, own, how, network) for path, own in each]
        reports[name] = report = pooled(runs)
        low, high = report.interval("accuracy")
        print(
            f"{'VALIDATION ' * validate}{name}: accuracy {report.accuracy:.4f} "
            f"({low:.4f} to {high:.4f}, 95 % by record), "
            f"macro-F1 {report.macro_f1:.4f}; {len(runs[0].records)} records, seeds: "
            f"{' '.join(f'{run.accuracy:.4f}' for run in runs)}",
            flush=True,
        )
    return reports


def _tested(splits, out, options, how, network):
    """A model that has learned from the training set, on the test set."""
    training = splits["train"]
    keras.utils.set_random_seed(options.seed)
    model = _build(training, network)
    model.features.adapt(read_example(example)[0] for example in training)
    run = train(model, _repeated(training), options=options, augment=AUGMENTATION, out=out, **how)
    if run.interrupted:
        raise KeyboardInterrupt  # half a run is no result; `resume` goes on
    return evaluate_classifier(run.model, splits["test"])


def _cross_validated(splits, out, options, how, network):
    """Models that have learned from parts of the training set, each on the rest of it."""
    training = splits["train"]
    folds = stratified_group_folds(training, FOLDS, seed=options.seed)
    return cross_validate(
        lambda: _build(training, network),
        training,
        [(_repeated(left), held) for left, held in folds],
        options=options,
        augment=AUGMENTATION,
        out=out.with_suffix(".valid.keras"),
        final=False,
        **how,
    )


def _build(training, network):
    channels = read_example(training[0])[0].shape[1]
    features = RawSignal(1, window=1, hop=1, channels=channels, normalize="global")
    classes = sorted({example.label for example in training})
    net = recurrent_classifier("gru", num_features=channels, num_classes=len(classes), **{**NETWORK, **network})
    data = Path(training[0].path).stem.removesuffix("_TRAIN")
    return SequenceClassifier(features, net, classes, card={**CARD, "data": f"{data}, official training set"})


def _repeated(examples):
    return [*examples] * math.ceil(RECORDS / len(examples))


def pooled(runs):
    """All seeds' answers in one report, whose intervals draw a record with the answers of all of them."""
    records = [dataclasses.replace(record, subject=record.id) for run in runs for record in run.records]
    return classification_report(records, runs[0].classes, faults=runs[0].faults)


if __name__ == "__main__":
    recipe(main)
