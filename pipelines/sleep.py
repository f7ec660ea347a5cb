"""Sleep stages: one of five for every 30 s, each read in the context of the surrounding twenty minutes.

    python -m pipelines.sleep --data-dir DIR      # cross-validates over people, then trains on all of them
    speechrnn classify --model runs/sleep/sleep.keras NIGHT.edf

DIR has Sleep-EDF, or nights in its layout (`NAME-PSG.edf` and `NAME-Hypnogram.edf`). An epoch of 30 s is one frame:
convolutions within it see waves, and a recurrent layer in both directions sees the course of the night. The figures are
macro-F1 and Cohen's kappa, as in the literature, with intervals over people. It has been run on synthetic nights only,
so nothing was chosen on Sleep-EDF.
"""

from pathlib import Path

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import sleep_edf
from speechrnn.features.filter_layers import BandPass
from speechrnn.tasks.classification import cross_validate, print_report

RATE, FOLDS = 50, 10
BAND = {"low": 0.3, "high": 20}
NETWORK = {"frame_convolutions": 7, "filters": 24, "kernel": 9, "units": 48, "layers": 1, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=12, batch_size=8, learning_rate=2e-3, average=0.99, class_weights="sqrt", label_smoothing=0.05
)
AUGMENTATION = Augmentation(jitter=0.05, scaling=0.1)
CARD = {
    "task": "stage of sleep of every 30 s: awake, N1, N2, N3, REM (AASM)",
    "data": "nights in the layout of Sleep-EDF",
    "scheme": "kappa",
    "license": "weights: Apache-2.0; Sleep-EDF: ODC-By 1.0",
}


def main(
    data_dir: str,
    out: str = "runs/sleep",
    folds: int = FOLDS,
    options: ClassifierTraining = OPTIONS,
    resume: bool = False,
    **network,
):
    """Cross-validate over people, then train on all; returns the report of all folds.

    Args:
        data_dir: Sleep-EDF, or nights in its layout.
        out: Folder for manifests, model and logs.
        folds: Groups of people to leave out in turn.
        resume: Resume an interrupted run.
    """
    training = sleep_edf.prepare(data_dir, Path(out, "manifests"), overwrite=True)["train"]
    channels, window = len(sleep_edf.CHANNELS), round(sleep_edf.EPOCH * RATE)

    def build():
        features = RawSignal(
            RATE, window=window, hop=window, channels=channels, normalize="utterance",
            filters=[BandPass(RATE, **BAND)],
        )  # fmt: skip
        net = recurrent_classifier(
            "gru",
            num_features=features.num_features,
            num_classes=len(sleep_edf.CLASSES),
            frame_shape=(window, channels),
            pooling=None,
            **{**NETWORK, **network},
        )
        return SequenceClassifier(features, net, sleep_edf.CLASSES, card=CARD)

    report = cross_validate(
        build,
        training,
        folds,
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "sleep.keras"),
        resume=resume,
        overwrite=not resume,
    )
    print_report(report, per_subject=True)
    return report


if __name__ == "__main__":
    recipe(main)
