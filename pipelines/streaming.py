"""The included streaming model: English letters, numbers and commands, word by word as they are spoken.

    python -m pipelines.streaming --an4 DIR --fsdd DIR

The network reads in one direction and is normalized by the statistics of the training set instead of the utterance's;
the level, which is therefore not normalized, is varied in training. The data is that of `pipelines/letters_numbers.py`:
AN4's training set without eight speakers, who choose the epoch, and four of FSDD's six speakers. The test sets are
AN4's and the two other FSDD speakers, read block by block.
"""

from pathlib import Path

import keras

from pipelines.an4_ctc import VALID_SPEAKERS
from pipelines.letters_numbers import CARD, HELD_OUT
from speechrnn import (
    Augmentation,
    LogMel,
    RecognizerTraining,
    SpeechRecognizer,
    Vocabulary,
    audio,
    recurrent_ctc,
    train,
)
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4, fsdd
from speechrnn.export.writing import export
from speechrnn.tasks.recognition.evaluation import evaluate, print_report
from speechrnn.tasks.recognition.streaming import StreamingSession

UNITS, LAYERS, CONVOLUTIONS, DROPOUT = 320, 3, 2, 0.4
OPTIONS = RecognizerTraining(
    epochs=40, batch_seconds=24, learning_rate=1.5e-3, consistency=0.2, average=0.998, validate_every=4
)
RATE = 16000


def main(an4_dir: str, fsdd_dir: str, out: str = "runs/streaming", resume: bool = False, options=OPTIONS, **net):
    """Train, keep the best epoch, export it for streaming, and report the errors on both test sets.

    Args:
        an4_dir: AN4's official tree.
        fsdd_dir: FSDD's folder of recordings.
        out: Folder for manifests, models and logs.
        resume: Resume an interrupted run.
    """
    letters = an4.prepare(an4_dir, Path(out, "an4"), overwrite=True)
    digits = fsdd.prepare(fsdd_dir, Path(out, "fsdd"), by="speaker", held_out=HELD_OUT, overwrite=True)
    training = [example for example in letters["train"] if example.subject not in VALID_SPEAKERS] + digits["train"]
    valid = [example for example in letters["train"] if example.subject in VALID_SPEAKERS]
    keras.utils.set_random_seed(options.seed)
    vocabulary = Vocabulary.from_texts(example.text for example in letters["train"])
    features = LogMel(RATE, normalize="global")
    features.adapt(audio.read(example.path, sample_rate=RATE)[0] for example in training)
    sizes = {"units": UNITS, "layers": LAYERS, "convolutions": CONVOLUTIONS, "dropout": DROPOUT, **net}
    network = recurrent_ctc(
        "lstm", num_features=features.num_features, vocabulary_size=len(vocabulary), bidirectional=False, **sizes
    )
    run = train(
        SpeechRecognizer(features, network, vocabulary, card={**CARD, "streaming": "one direction, 55 ms"}),
        training,
        valid=valid,
        options=options,
        augment=Augmentation.speech(gain=(-12.0, 12.0)),
        out=Path(out, "english_letters_numbers_streaming.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    stream = StreamingSession(export(run.path, streaming=True, overwrite=True))
    reports = evaluate(stream, letters["test"]), evaluate(stream, digits["test"])
    for report in reports:
        print_report(report, per_speaker=report is reports[1])
    return run, *reports


if __name__ == "__main__":
    recipe(main, an4_dir="an4", fsdd_dir="fsdd")
