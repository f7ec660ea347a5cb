"""Documents: sentiment of sentences and spam among messages, compared with TF-IDF and logistic regression.

    python -m pipelines.documents --data-dir DIR     # DIR/sentiment/*_labelled.txt, DIR/sms_spam/SMSSpamCollection

Sentiment is three kinds of reviews of 1,000 sentences each (Kotzias et al. 2015), one table of text and class; the SMS
Spam Collection (Almeida et al. 2011) is one table of class and text. Each is split at random, with equal texts in the
same split: 20 % for the test, and 10 % of the rest to choose the epoch. The baseline is trained on both parts of the
rest, because it chooses nothing. The test sets chose nothing.
"""

from pathlib import Path

import keras
import numpy as np

import speechrnn as sr
from speechrnn.cli.scripts import recipe
from speechrnn.metrics.intervals import bootstrap
from speechrnn.tasks.classification import ClassifierTraining, SequenceClassifier

NETWORK = {"cell": "gru", "units": 32, "embedding": 48, "dropout": 0.5, "least": 2}
OPTIONS = ClassifierTraining(
    epochs=8, batch_size=32, learning_rate=4e-3, average=0.99, weight_decay=0.1, monitor="loss", label_smoothing=0.05
)
TASKS = {
    "sentiment": ("sentiment/*_labelled.txt", ("text", "class")),
    "spam": ("sms_spam/SMSSpamCollection", ("class", "text")),
}


def read(data_dir, name, out, seed):
    """Read the examples of a task from its tables, each split in the same way."""
    pattern, columns = TASKS[name]
    files = sorted(Path(data_dir).glob(pattern))
    if not files:
        raise FileNotFoundError(f"{data_dir}/{pattern}: there is no such file. Give the folder that holds it.")
    splits = {"train": [], "valid": [], "test": []}
    for file in files:
        prepared = sr.prepare(
            "texts", file, out=f"{out}/{file.stem}", text_column="text", label_column="class", unit="words",
            columns=columns, delimiter="\t", quoted=False, valid_fraction=0.08, test_fraction=0.2, seed=seed,
            overwrite=True,
        )  # fmt: skip
        for part, examples in prepared.items():
            splits[part] += examples
    return splits


def baseline(train, test, seed):
    """Accuracy and its interval of the baseline in scikit-learn's guides, with words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    model.fit([e.text for e in train], [str(e.label) for e in train])
    correct = model.predict([e.text for e in test]) == np.array([str(e.label) for e in test])
    tallies = np.stack([correct, np.ones(len(test))], axis=1)
    return correct.mean(), bootstrap(tallies, lambda sums: {"rate": sums[:, 0] / sums[:, 1]}, seed=seed)["rate"]


def main(data_dir: str, out: str = "runs/documents", options=OPTIONS, seed=0, tasks=tuple(TASKS), resume: bool = False):
    """Train and evaluate each task; returns the reports by task.

    Args:
        data_dir: Folder of the texts.
        out: Folder for manifests, models and logs.
        resume: Resume an interrupted run.
    """
    reports = {}
    for name in tasks:
        splits = read(data_dir, name, f"{out}/manifests/{name}", seed)
        keras.utils.set_random_seed(options.seed)
        model = SequenceClassifier.for_manifest(splits["train"], **NETWORK)
        model.card = {"task": name, "data": TASKS[name][0]}
        more = {"options": options, "out": f"{out}/{name}.keras", "resume": resume, "overwrite": not resume}
        run = sr.train(model, splits["train"], valid=splits["valid"], **more).completed()
        reports[name] = report = run.model.evaluate(splits["test"])
        rate, bounds = baseline(splits["train"] + splits["valid"], splits["test"], seed)
        print(f"{name}: {len(splits['test']):,} texts, accuracy in % [95 %]")
        for label, right, (low, high) in (
            (f"recurrent, {model.count_params():,} weights", report.accuracy, report.interval("accuracy")),
            ("TF-IDF and logistic regression", rate, bounds),
        ):
            print(f"  {label:34} {100 * right:5.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        run.model.export(f"{out}/{name}.onnx", overwrite=True)
    return reports


if __name__ == "__main__":
    recipe(main)
