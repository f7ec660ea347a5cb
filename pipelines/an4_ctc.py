"""AN4: spelled letters, numbers, dates and commands, recognised after training on AN4 alone.

    python pipelines/an4_ctc.py --data-dir DIR

DIR is the official tree (`etc/`, `wav/`), or the folder that holds it. Eight training speakers decide which epoch is
kept; the official test set is used once, at the end.
"""

import argparse
from pathlib import Path

import keras

from speechrnn import Augmentation, LogMel, SpeechRecognizer, TrainingOptions, Vocabulary, recurrent_ctc, train
from speechrnn.corpora import an4
from speechrnn.evaluate import evaluate, print_report
from speechrnn.recognizer import load

VALID_SPEAKERS = {"fjam", "mdxs", "mfaa", "mmaf", "mmap", "mmkw", "mscg2", "msjr"}
UNITS, LAYERS, CONVOLUTIONS, DROPOUT = 256, 3, 2, 0.4
OPTIONS = TrainingOptions(epochs=64, learning_rate=1.5e-3, average=0.998, validate_every=3)
CARD = {
    "task": "English letters, numbers, dates and commands",
    "data": "CMU AN4 (1991), official training set without eight speakers",
    "licence": "weights: Apache-2.0; AN4: free for any use, (c) 1991-2005 Carnegie Mellon University",
}


def main(data_dir: str, out: str = "runs/an4", resume: bool = False, options: TrainingOptions = OPTIONS, **network):
    """Train, keep the best epoch, and report the test set's errors."""
    splits = an4.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    training = [example for example in splits["train"] if example.subject not in VALID_SPEAKERS]
    valid = [example for example in splits["train"] if example.subject in VALID_SPEAKERS]
    keras.utils.set_random_seed(options.seed)
    vocabulary = Vocabulary.from_texts(example.text for example in splits["train"])
    sizes = {"units": UNITS, "layers": LAYERS, "convolutions": CONVOLUTIONS, "dropout": DROPOUT, **network}
    features = LogMel(16000)
    net = recurrent_ctc("lstm", num_features=features.num_features, vocabulary_size=len(vocabulary), **sizes)
    model = SpeechRecognizer(features, net, vocabulary, card=CARD)
    run = train(
        model,
        training,
        valid=valid,
        options=options,
        augmentation=Augmentation.speech(),
        out=Path(out, "an4.keras"),
        resume=resume,
        overwrite=not resume,
    )
    report = evaluate(load(run.model), splits["test"])
    print_report(report)
    return run, report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="AN4's official tree")
    parser.add_argument("--out", default="runs/an4", help="folder for manifests, model and logs")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    main(**vars(parser.parse_args()))
