"""AN4 with models whose symbols depend on those before them: a transducer, or CTC and attention together.

    python -m pipelines.an4_transducer --data-dir DIR                  # a transducer, and its errors on the test set
    python -m pipelines.an4_transducer --data-dir DIR --criterion ctc  # CTC with the same encoder and the same options
    python -m pipelines.an4_transducer --data-dir DIR --criterion attention --bidirectional  # whole recordings

DIR is the official tree (`etc/`, `wav/`), or the folder that contains it. Eight training speakers choose the epoch.
The test set is read as streams, except by attention, which reads whole recordings. The encoder of a transducer, and
that of attention, is also trained with CTC.
"""

from pathlib import Path
from typing import Literal

import keras

from pipelines.an4_ctc import CARD, VALID_SPEAKERS
from speechrnn import Augmentation, RecognizerTraining, SpeechRecognizer, Vocabulary, load, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.evaluation import evaluate, print_report

NETWORK = {"units": 224, "layers": 3, "convolutions": 2, "dropout": 0.3}
CRITERION_OPTIONS = {
    "ctc": {},
    "transducer": {"joint": 128, "predictor": "stateless", "predictor_context": 2, "embedding": 32},
    "attention": {"joint": 192, "attention": 96, "location": 10, "embedding": 32},
}
OPTIONS = RecognizerTraining(epochs=40, batch_seconds=32, learning_rate=2e-3, average=0.998, validate_every=4)


def main(
    data_dir: str,
    out: str = "runs/an4_transducer",
    criterion: Literal["transducer", "ctc", "attention"] = "transducer",
    beam: int = 4,
    bidirectional: bool = False,
    resume: bool = False,
    options: RecognizerTraining = OPTIONS,
    **network,
):
    """Train, keep the best epoch, export it, for streaming if it can, and report the errors of both searches.

    Args:
        data_dir: AN4's official tree.
        out: Folder for manifests, models and logs.
        criterion: Type of recognizer.
        beam: Width of the second search.
        bidirectional: Read in both directions, and no streams; only with attention.
        resume: Resume an interrupted run.
    """
    splits = an4.prepare(data_dir, Path(out, "manifests"), overwrite=True)
    training = [example for example in splits["train"] if example.subject not in VALID_SPEAKERS]
    valid = [example for example in splits["train"] if example.subject in VALID_SPEAKERS]
    keras.utils.set_random_seed(options.seed)
    model = SpeechRecognizer.for_manifest(
        training,
        vocabulary=Vocabulary.from_texts(example.text for example in splits["train"]),
        features={"normalize": "global"},
        criterion=criterion,
        bidirectional=bidirectional,
        **{**NETWORK, **CRITERION_OPTIONS[criterion], **network},
    )
    streams = criterion != "attention"
    model.card = {**CARD, "criterion": criterion, **({"streaming": "one direction, 55 ms"} if streams else {})}
    run = train(
        model,
        training,
        valid=valid,
        options=options,
        augment=Augmentation.speech(gain=(-12.0, 12.0)),
        out=Path(out, f"an4_{criterion}.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    exported = load(run.model.export(Path(out, f"an4_{criterion}.onnx"), streaming=streams, overwrite=True))
    reports = []
    for search in ({}, {"beam": beam}) if streams else ({"beam": beam},):  # attention always uses a beam
        report = evaluate(exported, splits["test"], decoder=attachments.decoder(exported, **search))
        print_report(report)
        reports.append(report)
    return run, *reports


if __name__ == "__main__":
    recipe(main)
