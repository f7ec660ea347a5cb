"""ESC-10: ten environmental sounds (rain, a dog, a helicopter), learned from 320 recordings of five seconds.

    python -m pipelines.sounds --data-dir DIR     # five models, one per fold, then one trained on all recordings

DIR is ESC-10, or ESC-50's repository, of which ten classes are used. The folds are the authors': clips of one original
recording are in the same fold. Nothing that a fold holds out is used before it is scored, not even to choose an epoch:
all models train equally long, and the moving average of the weights is used. Every recording is thus answered once, by
a model that was not trained on it; the accuracy is that of all 400 answers. Features are normalized by the training
set instead of the recording, since only the level in each band distinguishes the steady noise of rain from that of
waves.
"""

from pathlib import Path

from speechrnn import Augmentation, ClassifierTraining, LogMel, SequenceClassifier, recurrent_classifier
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import esc10
from speechrnn.tasks.classification import cross_validate, print_report

RATE, WINDOW, HOP, MELS = 16000, 640, 400, 64
FOLDS = esc10.FOLDS
NETWORK = {"over": "spectrum", "convolutions": 3, "filters": 24, "units": 48, "layers": 1, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=30, batch_size=16, learning_rate=3e-3, average=0.98, mixup=0.3, label_smoothing=0.05, weight_decay=0.05
)
AUGMENTATION = Augmentation(
    gain=(-9, 9),
    crop=0.7,
    feature_noise=0.1,
    time_masks=2,
    time_mask_frames=40,
    frequency_masks=2,
    frequency_mask_bins=10,
)
CARD = {
    "task": "ten sounds of the surroundings, 16 kHz",
    "data": "ESC-10 (Piczak 2015)",
    "license": "weights: Apache-2.0; ESC-10: CC BY 3.0",
}


def main(
    data_dir: str,
    out: str = "runs/sounds",
    resume: bool = False,
    final: bool = True,
    options: ClassifierTraining = OPTIONS,
    **network,
):
    """Cross-validate, report, and train a final model on all recordings.

    Args:
        data_dir: ESC-10's folder of classes, or ESC-50's repository.
        out: Folder for manifests, models and logs.
        resume: Resume an interrupted run.
    """
    splits = esc10.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    examples = splits["train"] + splits["test"]
    classes = sorted({example.label for example in examples})

    def build():
        features = LogMel(RATE, window=WINDOW, hop=HOP, num_mels=MELS, normalize="global")
        net = recurrent_classifier(
            "gru", num_features=features.num_features, num_classes=len(classes), **{**NETWORK, **network}
        )
        return SequenceClassifier(features, net, classes, card=CARD)

    report = cross_validate(
        build,
        examples,
        [[example for example in examples if example.extra["fold"] == fold] for fold in FOLDS],
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "sounds.keras"),
        final=final,
        resume=resume,
        overwrite=not resume,
    )
    print_report(report)
    return report


if __name__ == "__main__":
    recipe(main)
