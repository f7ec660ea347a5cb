"""Letters to phones, trained on CMUdict: an attention encoder-decoder, joint n-grams, and both together.

python -m pipelines.letters_to_phones --out runs/letters_to_phones
"""

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import keras

import speechrnn as sr
from speechrnn.cli.scripts import recipe
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import rate_interval
from speechrnn.tasks.sequence_to_sequence import Pair, SequenceToSequence, SequenceTraining
from speechrnn.text import Lexicon, lexicons

OPTIONS = SequenceTraining(epochs=10, batch_size=64, learning_rate=3e-3, average=0.998)
NETWORK = {"cell": "lstm", "units": 160, "layers": 1, "attention": 64, "embedding": 48, "dropout": 0.1}


def split(lexicon, seed=0):
    """Split words at random: 5 % for the test, 1 % to choose the epoch, the others for training."""
    words = sorted(word for word in lexicon if word.isascii() and word.replace("'", "").isalpha())
    random.Random(seed).shuffle(words)
    test_end, dev_end = round(0.05 * len(words)), round(0.06 * len(words))
    parts = {"test": words[:test_end], "dev": words[test_end:dev_end], "train": words[dev_end:]}
    return {name: lexicon.only(part) for name, part in parts.items()}


def pairs(lexicon):
    """All pairs of a word and one of its pronunciations."""
    return [Pair(word, " ".join(phones)) for word, pronunciations in lexicon.items() for phones, _ in pronunciations]


def errors(pronounce: Callable[[str], list[str] | None], test: Lexicon):
    """Rates of wrong phones and words of a pronunciation function, with intervals."""
    counts = []
    for word, truths in test.items():
        phones = pronounce(word) or []
        counts.append(min((edits.counts(truth, phones) for truth, _ in truths), key=lambda one: one.errors))
    wrong = [Edits(substitutions=1) if one.errors else Edits(hits=1) for one in counts]
    return [(sum(each, Edits()).rate, rate_interval(each)) for each in (counts, wrong)]


def line(name, phones, words):
    """Format a line of the table: rates with their intervals."""
    cells = [f"{100 * rate:5.2f} [{100 * low:.2f}, {100 * high:.2f}]" for rate, (low, high) in (phones, words)]
    return f"{name:34} {cells[0]:>22} {cells[1]:>24}"


def main(out: str = "runs/letters_to_phones", options=OPTIONS, seed=0, words=None, ngrams=True, resume: bool = False):
    """Train and evaluate; `words` limits their number, for a quick test.

    Args:
        out: Folder for model and logs.
        resume: Resume an interrupted run.
    """
    keras.utils.set_random_seed(options.seed)
    parts = split(lexicons.cmudict(), seed)
    if words is not None:
        parts = {name: part.only(itertools.islice(part, words)) for name, part in parts.items()}
    training = pairs(parts["train"])
    model = SequenceToSequence.for_manifest(training, target="words", max_length=40, **NETWORK)
    model.card = {
        "name": "English pronunciation",
        "data": f"CMUdict without stress: {len(parts['train']):,} words learned, {len(parts['test']):,} kept out",
        "license": "CMUdict is copyright Carnegie Mellon University, BSD 2-clause",
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    target = f"{out}/english_pronunciation.keras"
    run = sr.train(
        model, training, valid=pairs(parts["dev"]), options=options, out=target, resume=resume, overwrite=not resume
    ).completed()
    reports = {name: run.model.evaluate(pairs(parts[name])) for name in ("dev", "test")}
    print(f"{'CMUdict, error in % [95 %]':34} {'phones':>22} {'words':>24}")
    if ngrams:
        grams = LettersToPhones(parts["train"])
        print(line("joint 6-grams, test", *errors(grams, parts["test"])))
        for name in ("dev", "test"):
            print(line(f"both, {name}", *errors(grams.together(run.model, parts[name]).get, parts[name])))
    for name, report in reports.items():
        rates = (report.symbol_error_rate, report.interval), (report.sequence_error_rate, report.sequence_interval)
        print(line(f"attention, beam 4, {name}", *rates))
    print("published, other split: 5.5 and 23.6 (bidirectional LSTM, Yao and Zweig 2015),")
    print("5.0 and 21.7 (attention, Toshniwal and Livescu 2016)")
    run.model.export(f"{out}/english_pronunciation.onnx", overwrite=True)
    return reports


if __name__ == "__main__":
    recipe(main)
