"""HAPT: what a person is doing at every moment, from the sensors of a phone at the waist.

    python -m pipelines.activity --data-dir DIR   # cross-validates over subjects, then trains on all of them
    speechrnn evaluate --model runs/activity/activity.keras runs/activity/manifests/test.jsonl

DIR is the published tree (`RawData/`, `Train/`, `Test/`), or the folder of `hapt_train.npz`. The network reads 30 s of
the recording at once instead of short windows, so it sees a person sit down before it has to distinguish sitting from
standing. Everything was chosen on folds of the official training subjects.
"""

from pathlib import Path

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import hapt
from speechrnn.tasks.classification import cross_validate, print_report

FOLDS = 5
CHUNK = 30.0
NETWORK = {"units": 48, "layers": 1, "stem": 2, "convolutions": 2, "filters": 32, "kernel": 9, "dropout": 0.3}
OPTIONS = ClassifierTraining(epochs=12, batch_size=8, learning_rate=2e-3, average=0.99, label_smoothing=0.05)
AUGMENTATION = Augmentation.sensor(time_warp=0, wander=0)
CARD = {
    "task": "walking, walking upstairs, walking downstairs, sitting, standing, laying; smartphone at the waist",
    "data": "HAPT (Reyes-Ortiz et al. 2016), official training subjects",
    "license": "weights: Apache-2.0; HAPT: research use",
}


def main(
    data_dir: str,
    out: str = "runs/activity",
    folds: int = FOLDS,
    options: ClassifierTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Cross-validate over subjects, then train on all of them; returns the report of all folds.

    Args:
        data_dir: HAPT as published, or the folder of hapt_train.npz.
        out: Folder for manifests, models and logs.
        folds: Groups of subjects to leave out in turn.
        resume: Resume an interrupted run.
    """
    training = hapt.prepare(data_dir, Path(out, "manifests"), overwrite=True, chunk=CHUNK)["train"]
    features = RawSignal(int(hapt.RATE), window=1, hop=1, channels=len(hapt.CHANNELS))

    def build():
        net = recurrent_classifier(
            "gru",
            num_features=features.num_features,
            num_classes=len(hapt.ACTIVITIES),
            pooling=None,
            **{**NETWORK, **network},
        )
        return SequenceClassifier(features, net, hapt.ACTIVITIES, card=CARD)

    report = cross_validate(
        build,
        training,
        folds,
        out=Path(out, "activity.keras"),
        options=options,
        augment=AUGMENTATION,
        resume=resume,
        overwrite=not resume,
    )
    print_report(report, per_subject=True)
    return report


if __name__ == "__main__":
    recipe(main)
