"""LibriSpeech: read English, recognized in subwords after training on any of its subsets, with an n-gram model.

    python -m pipelines.librispeech_ctc --data-dir DIR      # mini LibriSpeech: train-clean-5, validated on dev-clean-5
    python -m pipelines.librispeech_ctc --data-dir DIR --train train-clean-100 train-clean-360 train-other-500 \\
        --valid dev-clean --test test-clean test-other --text librispeech-lm-norm.txt.gz --subwords 500 --epochs 30

DIR is the `LibriSpeech` folder, or the folder that contains it. The validation set chooses the epoch and the weight of
the language model, and its row says so; the test sets are used once, at the end. The language model is a trigram of the
training texts, or of `--text`, one sentence per line; sentences of the validation and test sets are left out, since the
same books may be in both. `--start` continues from a recognizer trained on other speech, such as that of
`pipelines/an4_ctc.py`, instead of from random weights.
"""

from collections.abc import Sequence
from pathlib import Path

import keras

from pipelines.an4_ctc import fresh
from speechrnn import Augmentation, RecognizerTraining, Vocabulary, train
from speechrnn.cli.scripts import recipe
from speechrnn.data import sentences
from speechrnn.data.corpora import librispeech
from speechrnn.data.manifest import Example
from speechrnn.decoding.beam import BeamSearch
from speechrnn.decoding.lm import kneser_ney, ngram
from speechrnn.decoding.tuning import tune
from speechrnn.export.writing import export
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle as load
from speechrnn.tasks.recognition.evaluation import evaluate, print_report
from speechrnn.tasks.recognition.session import RecognizerSession as Session
from speechrnn.tasks.recognition.transcription import logits_of
from speechrnn.text.subwords import Subwords

SUBWORDS, ORDER, BEAM = 200, 3, 64
DROPOUT = 0.3
OPTIONS = RecognizerTraining(epochs=40, batch_size=12, learning_rate=1.5e-3, average=0.998, validate_every=4)
AUGMENTATION = Augmentation.speech()
CARD = {"task": "read English, as in audio books", "license": "weights: Apache-2.0; LibriSpeech: CC BY 4.0"}


def main(
    data_dir: str,
    training: Sequence[str] = ("train-clean-5",),
    valid: str = "dev-clean-5",
    tests: Sequence[str] = (),
    texts: Sequence[str] = (),
    subwords: int = SUBWORDS,
    start: str | None = None,
    out: str = "runs/librispeech",
    resume: bool = False,
    options: RecognizerTraining = OPTIONS,
    **network,
):
    """Train, and report the errors on the validation and test sets, greedy and by beam search with the n-gram.

    Args:
        data_dir: The LibriSpeech folder.
        training: Subsets to train on.
        valid: Subset that chooses the epoch and the weights.
        tests: Subsets for the test.
        texts: Sentences for the language model.
        subwords: Number of subwords; 0 for characters.
        start: A .keras recognizer to continue from.
        out: Folder for manifests, model and logs.
        resume: Resume an interrupted run.
    """
    splits = librispeech.prepare(data_dir, Path(out, "manifests"), subsets=[*training, valid, *tests], overwrite=True)
    examples = [example for name in training for example in splits[name]]
    keras.utils.set_random_seed(options.seed)
    lines = [example.text or "" for example in examples]
    vocabulary = Subwords.from_texts(lines, subwords) if subwords else Vocabulary.from_texts(lines)
    model = load(start).with_vocabulary(vocabulary) if start else fresh(vocabulary, **{"dropout": DROPOUT, **network})
    model.card = CARD | {"data": f"LibriSpeech, {', '.join(training)}"} | ({"begun_from": model.card} if start else {})
    run_options = {"options": options, "augment": AUGMENTATION, "resume": resume, "overwrite": not resume}
    run = train(model, examples, valid=splits[valid], out=Path(out, "librispeech.keras"), **run_options).completed()
    hours, epochs = sum(example.duration for example in examples) / 3600, len(run.history)
    print(f"{epochs} epochs of {hours:.2f} h in {run.seconds / max(1, epochs):.0f} s each")
    session = Session(export(run.path, overwrite=True))
    tests_by_name = {name: splits[name] for name in (valid, *tests)}
    held_out = [example for name in tests_by_name for example in tests_by_name[name]]
    model = language_model(list(sentences.read(texts)) if texts else lines, held_out, Path(out, f"order{ORDER}.arpa"))
    search = tuned(session, model, splits[valid])
    print(f"{valid} chose the epoch, and --lm-weight {search.lm_weight:g} --word-bonus {search.word_bonus:g}")
    reports = {}
    for name, part in tests_by_name.items():
        for run_options, decoder in (("greedy", None), (f"beam {BEAM} + {ORDER}-gram", search)):
            print(f"\n{name}, {run_options}", flush=True)
            reports[name, run_options] = evaluate(session, part, decoder=decoder)
            print_report(reports[name, run_options])
    return run, reports


def language_model(lines: Sequence[str], held_out: Sequence[Example], out: Path) -> ngram.NGram:
    """Train an n-gram on the sentences that are not in the held-out examples."""
    excluded = {example.text for example in held_out}
    used = [line for line in lines if line not in excluded]
    print(f"language model: {len(used)} sentences; {len(lines) - len(used)} that are to be recognized were left out")
    model = kneser_ney.train(used, order=ORDER)
    model.write(out, overwrite=True)
    return model


def tuned(session: Session, model: ngram.NGram, valid: Sequence[Example]) -> BeamSearch:
    """Tune the weights of the beam search on the validation set."""
    pairs = list(logits_of(session, valid, faults=Faults()))
    search = BeamSearch(session.vocabulary, width=BEAM, language_model=model)
    best = tune(search, [values for _, values in pairs], [example.text or "" for example, _ in pairs])[0]
    return search.weighted(lm_weight=best.lm_weight, word_bonus=best.word_bonus)


if __name__ == "__main__":
    recipe(main, training="train", tests="test", texts="text")
