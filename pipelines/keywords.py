"""Keywords: the ten digits of the Free Spoken Digit Dataset as classes, tested on new speakers.

    python -m pipelines.keywords --data-dir DIR --validate   # holds out one training speaker, and reports on him
    python -m pipelines.keywords --data-dir DIR              # trains on four speakers, and reports on two others

DIR is the repository's folder, or its `recordings`. The corpus's own split tests on the voices of the training data,
which says little about new speakers; here two of the six speakers are kept for the test. With four training voices,
simulating more of them helps most: other speeds, and spectra scaled as by longer and shorter vocal tracts. The first
five recordings of every digit (those that the corpus's own split tests on) choose the epoch.
"""

from pathlib import Path

import keras

from speechrnn import Augmentation, ClassifierTraining, LogMel, SequenceClassifier, recurrent_classifier, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import fsdd
from speechrnn.tasks.classification import evaluate_classifier, print_report

TEST_SPEAKERS, VALID_SPEAKER = ("theo", "yweweler"), "nicolas"
RATE, MELS = 8000, 40
NETWORK = {"over": "spectrum", "convolutions": 2, "filters": 24, "units": 48, "layers": 1, "dropout": 0.3}
OPTIONS = ClassifierTraining(
    epochs=24, batch_size=32, learning_rate=3e-3, average=0.99, label_smoothing=0.1, monitor="loss", validate_every=2
)
AUGMENTATION = Augmentation.speech(
    speed=(0.8, 1.2), frequency_scale=0.2, feature_noise=0.2, time_mask_frames=10, frequency_mask_bins=8
)
CARD = {
    "task": "English digits said one at a time, 8 kHz",
    "data": "Free Spoken Digit Dataset 1.0.9, speakers george, jackson, lucas and nicolas",
    "license": "weights: Apache-2.0; FSDD: CC BY-SA 4.0",
}


def main(
    data_dir: str,
    out: str = "runs/keywords",
    validate: bool = False,
    resume: bool = False,
    options: ClassifierTraining = OPTIONS,
    **network,
):
    """Train, and report on the test speakers, or on the held-out training speaker.

    Args:
        data_dir: The corpus's folder, or its recordings.
        out: Folder for manifests, model and logs.
        validate: Hold out one training speaker and report on him.
        resume: Resume an interrupted run.
    """
    splits = fsdd.prepare(data_dir, Path(out, "manifests"), by="speaker", held_out=TEST_SPEAKERS, overwrite=True)
    held_out = [example for example in splits["train"] if validate and example.subject == VALID_SPEAKER]
    rest = [example for example in splits["train"] if not validate or example.subject != VALID_SPEAKER]
    valid = [example for example in rest if int(example.id.split("_")[2]) < 5]
    keras.utils.set_random_seed(options.seed)
    features = LogMel(RATE, num_mels=MELS)
    classes = [str(digit) for digit in range(10)]
    net = recurrent_classifier(
        "gru", num_features=features.num_features, num_classes=len(classes), **{**NETWORK, **network}
    )
    run = train(
        SequenceClassifier(features, net, classes, card=CARD),
        [example for example in rest if example not in valid],
        valid=valid,
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "keywords.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    report = evaluate_classifier(run.model, held_out or splits["test"])
    print_report(report, per_subject=True)
    return run, report


if __name__ == "__main__":
    recipe(main)
