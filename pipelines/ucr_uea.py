"""Any data set of the UCR and UEA archives: the official split, and one recipe for all of them.

    python -m pipelines.ucr_uea --data-dir DIR NATOPS RacketSports             # one model each, on the official test
    python -m pipelines.ucr_uea --data-dir DIR NATOPS RacketSports --validate  # folds of the training set instead

DIR has NAME_TRAIN and NAME_TEST (`.ts`, `.tsv` or `.txt`), or a folder per data set, as both archives are published and
as the package aeon has some of them in `aeon/datasets/data`. The answers of two kinds of models are averaged: recurrent
networks with learned convolutions, which need hundreds of records, and random kernels with a ridge regression,
which need dozens and train in seconds; each kind is the mean of several seeds. Folds of ten training sets chose to use
both (`--way`). Everything is the same for every data set, except that long series get more convolutions; the official
test sets chose nothing. A small training set is repeated, each copy with its own augmentation.
"""

import math
from pathlib import Path
from typing import Literal

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import ucr
from speechrnn.data.examples import read_example
from speechrnn.data.manifest import stratified_group_folds
from speechrnn.models.averaging import averaged
from speechrnn.tasks.classification import Setting, classification_report, evaluate_classifier, kernel_classifier

FOLDS = 5
RECORDS = 480  # minimum number per epoch
FRAMES = 100  # approximate number for the recurrent layer; each convolution halves it
NETWORK = {"filters": 48, "kernel": 7, "units": 48, "layers": 1, "heads": 2, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=20, batch_size=16, learning_rate=3e-3, average=0.99, label_smoothing=0.05, mixup=0.2, weight_decay=0.05,
    members=3,
)  # fmt: skip
AUGMENTATION = Augmentation(jitter=0.05, scaling=0.1, time_warp=0.15)
CARD = {"license": "weights: Apache-2.0; data: terms of the UCR and UEA archives"}


def main(
    data_dir: str,
    names: list[str],
    out: str = "runs/ucr_uea",
    validate: bool = False,
    way: Literal["both", "recurrent", "kernels"] = "both",
    options: ClassifierTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Train on each data set; returns the reports by data set.

    Args:
        data_dir: Folder of the archive, or of some of its data sets.
        names: Data sets, such as NATOPS.
        out: Folder for manifests and models.
        validate: Score on parts of the training set instead.
        way: Recurrent networks, random kernels, or both.
        resume: Resume an interrupted run.
    """
    reports = {}
    for name in names:
        splits = ucr.prepare(data_dir, Path(out, name), name=name, overwrite=True)
        training, runs = splits["train"], {}
        parts = stratified_group_folds(training, FOLDS, seed=options.seed) if validate else [(training, splits["test"])]
        for number, (training_part, test_part) in enumerate(parts, start=1):
            path = Path(out, f"{name}.fold_{number}.keras" if validate else f"{name}.keras")
            models = _trained(training_part, path, way, options, resume, network)
            for kind, model in models.items():
                runs.setdefault(kind, []).append(evaluate_classifier(model, test_part))
            models[way].save(path)
        pooled = {kind: _pooled(each) for kind, each in runs.items()}
        reports[name] = report = pooled[way]
        low, high = report.interval("accuracy")
        single = ", ".join(f"{kind} {pooled[kind].accuracy:.4f}" for kind in pooled if kind != way)
        print(
            f"{'VALIDATION ' * validate}{name}: accuracy {report.accuracy:.4f} "
            f"({low:.4f} to {high:.4f}, 95 % by record), "
            f"macro-F1 {report.macro_f1:.4f}; {len(report.records)} records" + f"; alone: {single}" * bool(single),
            flush=True,
        )
    return reports


def _trained(training, path, way, options, resume, network):
    """Train the models of each kind, and average them; returns the models by kind."""
    data = Path(training[0].path).stem.removesuffix("_TRAIN")
    card, models = {**CARD, "data": f"{data}, official training set"}, {}
    if way != "kernels":
        setting = Setting(lambda: _build(training, network, card), options, AUGMENTATION)
        repeated = [*training] * math.ceil(RECORDS / len(training))
        recurrent_path = path.with_name(f"{path.stem}.recurrent.keras")
        models["recurrent"] = setting.learn(repeated, out=recurrent_path, resume=resume, overwrite=not resume)
    if way != "recurrent":
        seeds = range(options.seed, options.seed + options.members)
        models["kernels"] = averaged([kernel_classifier(training, seed=seed, card=card) for seed in seeds])
    return {**models, way: averaged(list(models.values()))}


def _build(training, network, card):
    samples, channels = read_example(training[0])[0].shape
    blocks = max(2, round(math.log2(samples / FRAMES)))
    features = RawSignal(1, window=1, hop=1, channels=channels, normalize="global")
    classes = sorted({example.label for example in training})
    net = recurrent_classifier(
        "gru", num_features=channels, num_classes=len(classes), **{"convolutions": blocks, **NETWORK, **network}
    )
    return SequenceClassifier(features, net, classes, card=card)


def _pooled(runs):
    """Combine the answers of all folds in one report."""
    records = [record for run in runs for record in run.records]
    return classification_report(records, runs[0].classes, faults=[fault for run in runs for fault in run.faults])


if __name__ == "__main__":
    recipe(main)
