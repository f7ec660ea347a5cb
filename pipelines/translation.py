"""English to French, sentence by sentence: an attention encoder-decoder on Tatoeba's pairs, with BLEU and chrF.

    python -m pipelines.translation --data-dir DIR     # DIR/fra.txt: English, a tab and French on every line

Many sentences are on several lines. Lines that share a sentence of either language, directly or through others, form a
group, and each group is in one split, so no test sentence of either language was in training. All translations of a
test sentence are its references. sacrebleu computes the scores and their intervals; copying the source is the baseline.
"""

import random
from collections import Counter
from pathlib import Path

import keras

import speechrnn as sr
from speechrnn.cli.scripts import recipe
from speechrnn.report.plots import plot_attention
from speechrnn.tasks.sequence_to_sequence import Pair, SequenceToSequence, SequenceTraining
from speechrnn.text import Phones, normalize
from speechrnn.text.tokens import cut

OPTIONS = SequenceTraining(
    epochs=12, batch_size=64, learning_rate=3e-3, average=0.998, label_smoothing=0.1, scheduled_sampling=0.1
)
NETWORK = {"cell": "gru", "units": 192, "attention": 96, "embedding": 96, "dropout": 0.2}
MAX_LENGTH = 60


def read(data_dir):
    """Read pairs of sentences, in lower case, with spaces around punctuation."""
    lines = Path(data_dir, "fra.txt").read_text(encoding="utf-8").splitlines()
    sides = [[" ".join(cut(normalize(text, punctuation=True), "words")) for text in line.split("\t")] for line in lines]
    return list(dict.fromkeys((english, french) for english, french, *_ in sides))


def split(pairs, seed=0, test=0.05, valid=0.02):
    """Split pairs so that no two parts share a sentence of either language."""
    group = {}

    def root(name):
        while group.setdefault(name, name) != name:
            group[name] = name = group[group[name]]
        return name

    for english, french in pairs:
        group[root(("en", english))] = root(("fr", french))
    groups = {}
    for pair in pairs:
        groups.setdefault(root(("en", pair[0])), []).append(pair)
    drawn = sorted(groups.values())
    random.Random(seed).shuffle(drawn)
    parts, fractions = {"test": [], "valid": [], "train": []}, {"test": test, "valid": valid, "train": 1.0}
    for pairs_of_group in drawn:
        part = next(name for name, share in fractions.items() if len(parts[name]) < share * len(pairs))
        parts[part] += pairs_of_group
    return parts


def words(texts, least=2):
    """Vocabulary of the words that occur at least twice."""
    counts = Counter(word for text in texts for word in text.split())
    return Phones(sorted(word for word, times in counts.items() if times >= least))


def scores(translations, references):
    """BLEU and chrF of translations, each with its references: sacrebleu's scores, with 95 % intervals."""
    from sacrebleu.metrics import BLEU, CHRF

    columns_needed = max(map(len, references))
    columns = [[each[i] if i < len(each) else None for each in references] for i in range(columns_needed)]
    return [metric.corpus_score(translations, columns, n_bootstrap=1000) for metric in (BLEU(), CHRF())]


def main(data_dir: str, out: str = "runs/translation", options=OPTIONS, seed=0, pairs=None, resume: bool = False):
    """Train and evaluate; returns BLEU and chrF by name. `pairs` limits their number, for a quick test.

    Args:
        data_dir: Folder of the pairs.
        out: Folder for model and logs.
        resume: Resume an interrupted run.
    """
    parts = split(read(data_dir)[:pairs], seed)
    source, target = (words(pair[side] for pair in parts["train"]) for side in (0, 1))
    known = {
        name: [Pair(*pair) for pair in part if not source.missing(pair[0]) and not target.missing(pair[1])]
        for name, part in parts.items()
    }
    keras.utils.set_random_seed(options.seed)
    model_options = {"source": source, "target": target, "max_length": MAX_LENGTH, **NETWORK}
    model = SequenceToSequence.for_manifest(known["train"], **model_options)
    model.card = {"name": "English to French", "data": "Tatoeba", "license": "CC BY 2.0 FR"}
    path = f"{out}/english_french.keras"
    train_options = {"options": options, "out": path, "resume": resume, "overwrite": not resume}
    run = sr.train(model, known["train"], valid=known["valid"], **train_options).completed()
    tests = {}
    for english, french in parts["test"]:
        tests.setdefault(english, []).append(french)
    # Unknown words are left out of the sources, so that all test sentences are translated.
    sources = [" ".join(w for w in text.split() if w in source.symbols) or source.symbols[0] for text in tests]
    answers = list(run.model.translate(sources, on_error="collect", length_penalty=1.0, coverage_penalty=0.2))
    references = list(tests.values())
    table = {
        "attention, beam 4": scores([one.text for one in answers], references),
        "copying the source": scores(list(tests), references),
    }
    print(f"English to French, {len(tests):,} sentences, {len(known['train']):,} pairs learned")
    for name, part in table.items():
        print(f"  {name:20}", *(f"{score.name} {score.format(width=1, score_only=True)}" for score in part), sep="  ")
    longest = max((one for one in answers if one.symbols), key=lambda one: len(one.source), default=None)
    if longest is not None:
        plot_attention(longest.attention, longest.source, longest.symbols).savefig(f"{out}/attention.svg")
    run.model.export(f"{out}/english_french.onnx", overwrite=True)
    return table


if __name__ == "__main__":
    recipe(main)
