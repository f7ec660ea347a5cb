"""The included model `english_letters_numbers`, trained on AN4 and the Free Spoken Digit Dataset (FSDD).

    python -m pipelines.an4_ctc --data-dir AN4
    python -m pipelines.letters_numbers --an4 AN4 --fsdd FSDD --start runs/an4/an4.keras

It continues from the recognizer of the AN4 recipe, with AN4's training set and four of FSDD's six speakers. The test
sets are AN4's and the two other FSDD speakers.
"""

from pathlib import Path

import keras

from pipelines.an4_ctc import AUGMENTATION
from speechrnn import RecognizerTraining, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4, fsdd
from speechrnn.models.loading import load_bundle as load
from speechrnn.tasks.recognition.evaluation import evaluate, print_report

HELD_OUT = ("theo", "yweweler")
OPTIONS = RecognizerTraining(epochs=12, batch_seconds=24, learning_rate=1e-3, consistency=0.2, average=0.998)
CARD = {
    "task": "English letters, numbers, dates and commands, as in CMU AN4, and single digits",
    "data": "CMU AN4 (1991), training set; Free Spoken Digit Dataset (Jackson et al. 2018), "
    "speakers george, jackson, lucas and nicolas",
    "license": "CC BY-SA 4.0, since FSDD is; AN4: free for any use, (c) 1991-2005 Carnegie Mellon University",
}


def main(
    an4_dir: str, fsdd_dir: str, start: str, out: str = "runs/letters_numbers", resume: bool = False, options=OPTIONS
):
    """Train, and report the errors on both test sets.

    Args:
        an4_dir: AN4's official tree.
        fsdd_dir: FSDD's folder of recordings.
        start: The model that pipelines/an4_ctc.py wrote.
        out: Folder for manifests, model and logs.
        resume: Resume an interrupted run.
    """
    letters = an4.prepare(an4_dir, Path(out, "an4"), overwrite=True)
    digits = fsdd.prepare(fsdd_dir, Path(out, "fsdd"), by="speaker", held_out=HELD_OUT, overwrite=True)
    keras.utils.set_random_seed(options.seed)
    model = load(start)
    model.card = {**CARD, "begun_from": model.card}
    run = train(
        model,
        letters["train"] + digits["train"],
        options=options,
        augment=AUGMENTATION,
        out=Path(out, "english_letters_numbers.keras"),
        resume=resume,
        overwrite=not resume,
    ).completed()
    best = run.model
    reports = evaluate(best, letters["test"]), evaluate(best, digits["test"])
    for report in reports:
        print_report(report, per_speaker=report is reports[1])
    return run, *reports


if __name__ == "__main__":
    recipe(main, an4_dir="an4", fsdd_dir="fsdd")
