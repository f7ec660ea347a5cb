"""AN4: spelled letters, numbers, dates and commands, recognized after training on AN4 alone.

    python -m pipelines.an4_ctc --data-dir DIR --validate   # holds out eight training speakers, and reports on them
    python -m pipelines.an4_ctc --data-dir DIR              # trains on all of them, and reports on the test set
    python -m pipelines.an4_ctc --data-dir DIR --start runs/librispeech/librispeech.keras --epochs 20

DIR is the official tree (`etc/`, `wav/`), or the folder that contains it. Everything was chosen with `--validate`; the
official test set was used once, at the end. With so little speech (42 minutes) two things matter most: augmentation,
and training two augmentations of each utterance to agree. `--start` continues from a recognizer trained on other
speech, such as that of `pipelines/librispeech_ctc.py`, instead of from random weights.
"""

from pathlib import Path

import keras

from speechrnn import Augmentation, LogMel, RecognizerTraining, SpeechRecognizer, Vocabulary, recurrent_ctc, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4
from speechrnn.models.loading import load_bundle as load
from speechrnn.tasks.recognition.evaluation import evaluate, print_report

VALID_SPEAKERS = {"fjam", "mdxs", "mfaa", "mmaf", "mmap", "mmkw", "mscg2", "msjr"}
UNITS, LAYERS, CONVOLUTIONS, DROPOUT = 256, 3, 2, 0.4
OPTIONS = RecognizerTraining(
    epochs=60, batch_size=8, learning_rate=1.5e-3, consistency=0.2, average=0.998, validate_every=3
)
AUGMENTATION = Augmentation.speech(time_masks=4)
CARD = {
    "task": "English letters, numbers, dates and commands",
    "data": "CMU AN4 (1991), official training set",
    "license": "weights: Apache-2.0; AN4: free for any use, (c) 1991-2005 Carnegie Mellon University",
}


def main(
    data_dir: str,
    out: str = "runs/an4",
    validate: bool = False,
    start: str | None = None,
    resume: bool = False,
    options: RecognizerTraining = OPTIONS,
    **network,
):
    """Train, and report the errors on the test set, or on the held-out speakers.

    Args:
        data_dir: AN4's official tree.
        out: Folder for manifests, model and logs.
        validate: Hold out eight training speakers and report on them.
        start: A .keras recognizer to continue from.
        resume: Resume an interrupted run.
    """
    splits = an4.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    held_out = VALID_SPEAKERS if validate else set()
    training = [example for example in splits["train"] if example.subject not in held_out]
    valid = [example for example in splits["train"] if example.subject in held_out]
    keras.utils.set_random_seed(options.seed)
    vocabulary = Vocabulary.from_texts(example.text for example in splits["train"])
    model = load(start).with_vocabulary(vocabulary) if start else fresh(vocabulary, **network)
    model.card = {**CARD, "begun_from": model.card} if start else CARD
    run = train(
        model,
        training,
        valid=valid,
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "an4.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    report = evaluate(run.model, valid or splits["test"])
    print_report(report, per_speaker=validate)
    return run, report


def fresh(vocabulary: Vocabulary, **network) -> SpeechRecognizer:
    """Create an untrained recognizer."""
    sizes = {"units": UNITS, "layers": LAYERS, "convolutions": CONVOLUTIONS, "dropout": DROPOUT, **network}
    features = LogMel(16000)
    net = recurrent_ctc("lstm", num_features=features.num_features, vocabulary_size=len(vocabulary), **sizes)
    return SpeechRecognizer(features, net, vocabulary)


if __name__ == "__main__":
    recipe(main)
