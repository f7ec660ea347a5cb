"""Ways to train a recognizer of five hours of speech, each with the same processor time, and the errors each makes.

    python -m benchmarks.recipes DIR --lexicon words.lexicon --lm english.lm [--minutes 25] [--only NAME ...]

DIR has the corpora, of which LibriSpeech's train-clean-5 is learned from; dev-clean-5 chooses the epoch and the weights
of the search, so every figure is one of validation. Lexicon and language model are those of `pipelines/english_words`.
A recipe first trains two passes over a few utterances; from the batches of the second follows how many passes over all
of them fit. Prefix the command with `taskset -c 1` to give it one core. A recipe that was stopped is continued, and its
minutes are then those of the last part; one that is done is not trained again.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import keras

from benchmarks import measuring
from pipelines.english import FEATURES, NETWORK
from pipelines.english_words import logits_and_texts, tuned_weights
from speechrnn import Augmentation, RecognizerTraining, SpeechRecognizer, train
from speechrnn.data.corpora import librispeech
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle, load_session
from speechrnn.tasks.recognition import attachments, priors
from speechrnn.tasks.recognition.building import for_manifest
from speechrnn.tasks.recognition.evaluation import evaluate
from speechrnn.tasks.recognition.network import with_outputs
from speechrnn.tasks.recognition.phones import pronounced
from speechrnn.text import lexicons
from speechrnn.text.subwords import Subwords

TRAINING, VALID = "train-clean-5", "dev-clean-5"
OPTIONS = {"batch_seconds": 96, "learning_rate": 2e-3, "average": 0.998, "validate_every": 4}
DECODER = {"criterion": "attention", "joint": 256, "attention": 128, "embedding": 64}
SAMPLE, SUBWORDS, SHARES, BEAM = 96, 200, (0.0, 0.3, 0.5, 0.7), 8
RECIPES = {
    "CTC": {},
    "two views": {"options": {"consistency": 0.2}},
    "CTC and attention": {"network": DECODER},
    "subwords": {"subwords": SUBWORDS},
    "subwords, CTC and attention": {"subwords": SUBWORDS, "network": DECODER},
}
"""What each changes: options of training, of the network, the symbols."""


class Clock(keras.callbacks.Callback):
    """Processor seconds of each batch, by pass, and of the whole training."""

    def on_train_begin(self, logs=None):
        self.begun, self.passes = time.process_time(), []

    def on_epoch_begin(self, epoch, logs=None):
        self.passes.append([])
        self.last = time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        now = time.process_time()
        self.passes[-1].append(now - self.last)
        self.last = now

    def on_train_end(self, logs=None):
        self.seconds = time.process_time() - self.begun


def trained(recipe, examples, valid, vocabulary, out, minutes):
    """The path of the model, its passes and their processor time in seconds."""
    record = out / "recipe.json"
    options = {**OPTIONS, **recipe.get("options", {})}
    augment = Augmentation.speech()

    def run(part, judged, folder, epochs, **how):
        keras.utils.set_random_seed(1)
        network = {**NETWORK, **recipe.get("network", {})}
        model = for_manifest(part, vocabulary=vocabulary, features=FEATURES, **network)
        clock, given = Clock(), RecognizerTraining(epochs=epochs, **options)
        train(model, part, valid=judged, out=folder / "model.keras", options=given, augment=augment,
              callbacks=[clock], **how)  # fmt: skip
        return clock

    if not record.exists():
        sample = examples[:: len(examples) // SAMPLE]
        batches = run(sample, None, out / "sample", 2, overwrite=True).passes[1]
        share = sum(e.duration for e in sample) / sum(e.duration for e in examples)
        whole = statistics.median(batches) * len(batches) / share  # the first batch of a size is compiled
        record.write_text(json.dumps({"passes": max(1, round(60 * minutes / whole)), "seconds": None}))
    found = json.loads(record.read_text())
    if found["seconds"] is None:
        found["seconds"] = run(examples, valid, out / "whole", found["passes"], resume=True).seconds
        record.write_text(json.dumps(found))
    return out / "whole/model.keras", found["passes"], found["seconds"]


def of_ctc(model):
    """What a recognizer with attention has learned by CTC, as a recognizer of its own; others are one already."""
    if not hasattr(model, "ctc"):
        return model
    network = with_outputs(model.network, [-1] * len(model.vocabulary))
    kernel, bias = model.network.get_layer("logits").get_weights()  # both layers are linear, so they are one
    of_ctc, bias_of_ctc = model.ctc.get_weights()
    network.get_layer("logits").set_weights([kernel @ of_ctc, bias @ of_ctc + bias_of_ctc])
    return SpeechRecognizer(model.features, network, model.vocabulary)


def wrong(report):
    """The share of words, or phones, that are wrong, and its interval."""
    return {"rate": report.wer, "interval": list(report.interval)}


def measured(name, path, said, words, out, given):
    """The errors of a trained model: of its symbols by each search it has, and of words with lexicon and trigram."""
    model, rows = load_bundle(path), {}
    ctc = of_ctc(model)
    rows["best path"] = wrong(evaluate(ctc, said))
    if ctc is not model:
        rows[f"CTC and attention, beam of {BEAM}"] = wrong(
            evaluate(model, said, decoder=attachments.decoder(model, beam=BEAM))
        )
    if "subwords" in RECIPES[name]:
        return rows
    values, tried = priors.log_priors(logits_and_texts(ctc, said)[0]), []
    for share in SHARES:
        bundle = of_ctc(load_bundle(path))
        priors.subtract(bundle, values, scale=share)
        session = load_session(bundle.export(out / f"prior{share}.onnx", overwrite=True))
        weights = tuned_weights(session, words[::3], {**given, "beam": 64})
        report = evaluate(session, words, decoder=attachments.decoder(session, **given, **weights, beam=128))
        tried.append(wrong(report) | weights | {"share": share})
    return rows | {"words": min(tried, key=lambda row: row["rate"])}


def main(data_dir, lexicon, lm, minutes, out, only):
    """Train and measure each recipe; a row for each."""
    faults = Faults()
    parts = librispeech.prepare(
        Path(data_dir, "LibriSpeech"), out / "manifests", subsets=[TRAINING, VALID], overwrite=True
    )
    written = out / "spoken.lexicon"
    if not written.exists():
        known = lexicons.cmudict()
        texts = [word for part in parts.values() for e in part for word in e.text.split()]
        known.joined(known.guessed(texts, LettersToPhones(known))).write(written)
    spoken = lexicons.read(written)
    of_phones = {name: pronounced(part, spoken, faults=faults) for name, part in parts.items()}
    rows = []
    for name in only or RECIPES:
        recipe, folder = RECIPES[name], out / name.replace(" ", "_").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        part = parts if "subwords" in recipe else of_phones
        texts = [e.text for e in parts[TRAINING]]
        vocabulary = Subwords.from_texts(texts, recipe["subwords"]) if "subwords" in recipe else spoken.vocabulary()
        path, passes, seconds = trained(recipe, part[TRAINING], part[VALID], vocabulary, folder, minutes)
        errors = measured(name, path, part[VALID], parts[VALID], folder, {"lexicon": lexicon, "lm": lm})
        rows.append({"name": name, "passes": passes, "minutes": seconds / 60, **errors})
        print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir")
    parser.add_argument("--lexicon", required=True)
    parser.add_argument("--lm", required=True)
    parser.add_argument("--minutes", type=float, default=25, help="processor time of each recipe")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--only", nargs="+", choices=RECIPES, metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    given = parser.parse_args()
    found = main(given.data_dir, given.lexicon, given.lm, given.minutes, given.out, given.only)
    if given.json:
        Path(given.json).write_text(json.dumps({"machine": measuring.machine(), "rows": found}, indent=1))
