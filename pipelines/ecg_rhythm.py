"""CinC 2017: sinus rhythm, atrial fibrillation, another rhythm or noise, from one ECG lead of 9 to 61 s.

    python -m pipelines.ecg_rhythm --data-dir DIR    # five models, one per fold, then one trained on all records
    speechrnn evaluate --model runs/ecg_rhythm/ecg_rhythm.keras manifests/cinc2017/test.jsonl

DIR is `training2017` with its table of classes, or the folder that contains it. The lead is resampled to 100 Hz, which
keeps every wave that distinguishes rhythms. Some records were made with the electrodes in the wrong hands and are
upside down, so half of the training records are inverted, drawn again in every epoch. Folds are stratified by class;
the people are not published, so they cannot be kept apart, and intervals are over records. Nothing that a fold holds
out is used before it is scored, not even to choose an epoch: all models train equally long, and the moving average of
the weights is used. The settings are the second ones that were tried on the first fold (mean F1 0.807; the first ones,
8 epochs with frames of 0.64 s and nothing inverted, 0.738). The figure is the challenge's: the mean F1 of N, A and O.
"""

from pathlib import Path

from speechrnn import Augmentation, ClassifierTraining, RawSignal, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import cinc2017
from speechrnn.features.filter_layers import BandPass
from speechrnn.tasks.classification import cross_validate, print_report

RATE, FOLDS = 100, 5
BAND = {"low": 0.5, "high": 40}
NETWORK = {
    "stem": 4,
    "convolutions": 3,
    "filters": 32,
    "widen": 1.25,
    "kernel": 7,
    "units": 64,
    "layers": 1,
    "heads": 4,
    "dropout": 0.25,
}
OPTIONS = ClassifierTraining(
    epochs=20,
    batch_size=16,
    learning_rate=3e-3,
    average=0.99,
    class_weights="sqrt",
    label_smoothing=0.05,
    weight_decay=0.05,
)
AUGMENTATION = Augmentation(jitter=0.05, time_warp=0.1, speed=(0.9, 1.1), crop=0.7, flip=0.5)
CARD = {
    "task": "rhythm of one ECG lead: normal (N), atrial fibrillation (A), another (O), too noisy to tell (~)",
    "data": "PhysioNet/CinC Challenge 2017",
    "scheme": "cinc2017",
    "license": "weights: Apache-2.0; CinC 2017: ODC-By 1.0",
}


def main(
    data_dir: str,
    out: str = "runs/ecg_rhythm",
    folds: int = FOLDS,
    final: bool = True,
    resume: bool = False,
    options: ClassifierTraining = OPTIONS,
    **network,
):
    """Cross-validate, report, and train a final model on all records.

    Args:
        data_dir: Training2017 and its table of classes.
        out: Folder for manifests, models and logs.
        folds: Groups of records to leave out in turn.
        resume: Resume an interrupted run.
    """
    examples = cinc2017.prepare(data_dir, Path(out, "manifests"), overwrite=True)["train"]

    def build():
        features = RawSignal(RATE, window=1, hop=1, channels=1, normalize="utterance", filters=[BandPass(RATE, **BAND)])
        net = recurrent_classifier(
            "gru", num_features=features.num_features, num_classes=len(cinc2017.CLASSES), **{**NETWORK, **network}
        )
        return SequenceClassifier(features, net, cinc2017.CLASSES, card=CARD)

    report = cross_validate(
        build,
        examples,
        folds,
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "ecg_rhythm.keras"),
        final=final,
        resume=resume,
        overwrite=not resume,
    )
    print_report(report)
    return report


if __name__ == "__main__":
    recipe(main)
