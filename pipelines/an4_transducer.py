"""AN4 block by block, by a transducer: each symbol depends on those before it, and no frame sees the future.

    python -m pipelines.an4_transducer --data-dir DIR                  # a transducer, and its errors on the test set
    python -m pipelines.an4_transducer --data-dir DIR --criterion ctc  # CTC with the same encoder and the same options

DIR is the official tree (`etc/`, `wav/`), or the folder that holds it. Eight training speakers decide which epoch is
kept; the test set is read as it will be used, in streams. The transducer's encoder learns CTC beside its own loss.
"""

from pathlib import Path
from typing import Literal

import keras

from pipelines.an4_ctc import CARD, VALID_SPEAKERS
from speechrnn import Augmentation, RecognizerTraining, SpeechRecognizer, Vocabulary, load, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4
from speechrnn.tasks.recognition import carried
from speechrnn.tasks.recognition.evaluation import evaluate, print_report

NETWORK = {"units": 224, "layers": 3, "convolutions": 2, "dropout": 0.3, "bidirectional": False}
JOINT = {"joint": 128, "predictor": "stateless", "context": 2, "embedding": 32}
OPTIONS = RecognizerTraining(epochs=40, batch_seconds=32, learning_rate=2e-3, average=0.998, validate_every=4)


def main(
    data_dir: str,
    out: str = "runs/an4_transducer",
    criterion: Literal["transducer", "ctc"] = "transducer",
    beam: int = 4,
    resume: bool = False,
    options: RecognizerTraining = OPTIONS,
    **network,
):
    """Train, keep the best epoch, export it for streaming, and report the errors of both searches on the test set.

    Args:
        data_dir: AN4's official tree.
        out: Folder for manifests, models and logs.
        criterion: What it learns by.
        beam: Texts that the second search keeps.
        resume: Go on with a run that was stopped.
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
        **{**NETWORK, **(JOINT if criterion == "transducer" else {}), **network},
    )
    model.card = {**CARD, "criterion": criterion, "streaming": "one direction, 55 ms"}
    run = train(
        model,
        training,
        valid=valid,
        options=options,
        augment=Augmentation.speech(gain=(-12.0, 12.0)),
        out=Path(out, f"an4_{criterion}.keras"),
        resume=resume,
        overwrite=not resume,
    )
    stream = load(run.model.export(Path(out, f"an4_{criterion}.onnx"), streaming=True, overwrite=True))
    reports = []
    for search in ({}, {"beam": beam}):
        report = evaluate(stream, splits["test"], decoder=carried.decoder(stream, **search))
        print_report(report)
        reports.append(report)
    return run, *reports


if __name__ == "__main__":
    recipe(main)
