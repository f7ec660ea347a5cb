"""Data sets of the UCR and UEA archives with few training records: random kernels and a ridge regression, in seconds.

    python pipelines/ucr_kernels.py --data-dir DIR ECG200 NATOPS             # official split, the mean of three seeds
    python pipelines/ucr_kernels.py --data-dir DIR ECG200 NATOPS --validate  # folds of the training set instead

DIR is as for `ucr_uea.py`, whose recurrent network needs more records than some of these sets have. Nothing was chosen
by any of them: the kernels, their number and the penalties are those of MiniRocket's authors, and the penalty is chosen
by leaving out one training record at a time. The test set is answered by all seeds, and their mean is reported.
"""

from pathlib import Path

from pipelines.ucr_uea import CARD, FOLDS, SEEDS, pooled
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import ucr
from speechrnn.data.manifest import stratified_group_folds
from speechrnn.tasks.classification import classification_report, evaluate_classifier, kernel_classifier


def main(
    data_dir: str,
    names: list[str],
    out: str = "runs/ucr_kernels",
    validate: bool = False,
    seeds: tuple[int, ...] = SEEDS,
    features: int = 9996,
):
    """Solve for each data set with every seed; gives a report each, which holds the answers of all seeds.

    Args:
        data_dir: Folder of the archive, or of some of its data sets.
        names: Data sets, such as ECG200.
        out: Folder for manifests and models.
        validate: Score on parts of the training set instead.
    """
    reports = {}
    for name in names:
        splits, runs = ucr.prepare(data_dir, Path(out, name), name=name, overwrite=True), []
        for seed in seeds:
            parts = [(splits["train"], splits.get("test"))]
            if validate:
                parts = stratified_group_folds(splits["train"], FOLDS, seed=seed)
            models = [kernel_classifier(left, features=features, seed=seed, card=CARD) for left, _ in parts]
            found = [evaluate_classifier(model, held) for model, (_, held) in zip(models, parts, strict=True)]
            records = [record for report in found for record in report.records]
            runs.append(classification_report(records, found[0].classes))
            if not validate:
                models[0].save(Path(out, f"{name}_{seed}.keras"))
        reports[name] = report = pooled(runs)
        low, high = report.interval("accuracy")
        print(
            f"{'VALIDATION ' * validate}{name}: accuracy {report.accuracy:.4f} "
            f"({low:.4f} to {high:.4f}, 95 % by record), "
            f"{len(runs[0].records)} records, seeds: {' '.join(f'{run.accuracy:.4f}' for run in runs)}",
            flush=True,
        )
    return reports


if __name__ == "__main__":
    recipe(main)
