"""The model that ships: English letters, numbers and commands, from AN4 and the Free Spoken Digit Dataset.

    python -m pipelines.letters_numbers --an4 DIR --fsdd DIR

Trained on AN4's training set without eight speakers, which decide which epoch is kept, and on four of FSDD's six
speakers. Tested on AN4's test set and on the two other FSDD speakers.
"""

import argparse
from pathlib import Path

import keras

from pipelines.an4_ctc import VALID_SPEAKERS
from speechrnn import Augmentation, LogMel, SpeechRecognizer, TrainingOptions, Vocabulary, recurrent_ctc, train
from speechrnn.corpora import an4, fsdd
from speechrnn.evaluate import evaluate, print_report
from speechrnn.recognizer import load

HELD_OUT = ("theo", "yweweler")
UNITS, LAYERS, CONVOLUTIONS, DROPOUT = 192, 3, 2, 0.4
OPTIONS = TrainingOptions(epochs=50, batch_seconds=44, learning_rate=1.5e-3, average=0.998, validate_every=3)
CARD = {
    "task": "English letters, numbers, dates and commands, as in CMU AN4, and single digits",
    "data": "CMU AN4 (1991), training set without eight speakers; Free Spoken Digit Dataset (Jackson et al. 2018), "
    "speakers george, jackson, lucas and nicolas",
    "licence": "CC BY-SA 4.0, since FSDD is; AN4: free for any use, (c) 1991-2005 Carnegie Mellon University",
}


def main(an4_dir: str, fsdd_dir: str, out: str = "runs/letters_numbers", resume: bool = False, options=OPTIONS, **net):
    """Train, keep the best epoch, and report the errors on both test sets."""
    letters = an4.prepare(an4_dir, Path(out, "an4"), overwrite=True)
    digits = fsdd.prepare(fsdd_dir, Path(out, "fsdd"), by="speaker", held_out=HELD_OUT, overwrite=True)
    training = [example for example in letters["train"] if example.subject not in VALID_SPEAKERS] + digits["train"]
    valid = [example for example in letters["train"] if example.subject in VALID_SPEAKERS]
    keras.utils.set_random_seed(options.seed)
    vocabulary = Vocabulary.from_texts(example.text for example in letters["train"])
    sizes = {"units": UNITS, "layers": LAYERS, "convolutions": CONVOLUTIONS, "dropout": DROPOUT, **net}
    features = LogMel(16000)
    network = recurrent_ctc("lstm", num_features=features.num_features, vocabulary_size=len(vocabulary), **sizes)
    run = train(
        SpeechRecognizer(features, network, vocabulary, card=CARD),
        training,
        valid=valid,
        options=options,
        augmentation=Augmentation.speech(),
        out=Path(out, "english_letters_numbers.keras"),
        resume=resume,
        overwrite=not resume,
    )
    best = load(run.model)
    reports = evaluate(best, letters["test"]), evaluate(best, digits["test"])
    for report in reports:
        print_report(report, per_speaker=report is reports[1])
    return run, *reports


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--an4", dest="an4_dir", required=True, help="AN4's official tree")
    parser.add_argument("--fsdd", dest="fsdd_dir", required=True, help="FSDD's folder of recordings")
    parser.add_argument("--out", default="runs/letters_numbers", help="folder for manifests, model and logs")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    main(**vars(parser.parse_args()))
