"""Bach's chorales, chord by chord: a recurrent language model of notes compared with n-grams, in nats per time step.

    python -m pipelines.chorales --data-dir DIR     # DIR/jsb-chorales-quarter.json, split as published

A chorale is a sentence whose words are the notes of each quarter, from low to high, followed by a bar. A chord thus has
only one spelling, the probabilities of all chords sum to 1, and the negative log likelihood of a time step can be
compared with that of models that predict a chord at once (Boulanger-Lewandowski, Bengio and Vincent 2012; Bengio et al.
2013): 8.9 (RNN), 8.4 (LSTM), 5.56 (RNN-NADE). `--shift 5` trains on every piece in eleven keys, which those did not.
"""

import json
import struct
from pathlib import Path

import keras
import numpy as np

import speechrnn as sr
from speechrnn.cli.scripts import recipe
from speechrnn.decoding.lm import kneser_ney
from speechrnn.metrics.intervals import bootstrap
from speechrnn.tasks.language import LanguageModel, LanguageTraining

SHIFT, ORDER = 0, 8
NETWORK = {"cell": "lstm", "units": 128, "embedding": 32, "dropout": 0.4}
OPTIONS = LanguageTraining(
    epochs=40, batch_size=8, learning_rate=5e-3, average=0.99, monitor="loss", patience=8, max_characters=10**6
)


def spelled(piece, shift=0):
    """Write a piece as words, such as `43 55 59 62 | 45 57 ...`; a rest is only a bar."""
    return " ".join(word for chord in piece for word in (*(str(note + shift) for note in sorted(set(chord))), "|"))


def read(data_dir):
    """Read the pieces of each split: chords of MIDI notes, one per quarter."""
    path = Path(data_dir, "jsb-chorales-quarter.json")
    return json.loads(path.read_text(encoding="utf-8"))


def midi(text, quarters_per_minute=80):
    """Convert a piece from `spelled` to a standard MIDI file, with a quarter of 96 ticks per chord."""
    track = b"\x00\xff\x51\x03" + (60_000_000 // quarters_per_minute).to_bytes(3, "big")
    for chord in text.split("|")[:-1]:
        notes = [int(note) for note in chord.split()]
        ends = [(96 * (i == 0), 0x80, note, 0) for i, note in enumerate(notes or [0])]  # a rest ends no note
        track += bytes(byte for event in [*((0, 0x90, note, 64) for note in notes), *ends] for byte in event)
    track += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track


def line(name, logs, pieces):
    """Print a line of the table: nats per time step, with an interval over pieces; ends of pieces are not counted."""
    tallies = np.stack([-np.asarray(logs), [len(piece) for piece in pieces]], axis=1)
    low, high = bootstrap(tallies, lambda sums: {"rate": sums[:, 0] / sums[:, 1]})["rate"]
    rate = tallies[:, 0].sum() / tallies[:, 1].sum()
    print(f"  {name:34} {rate:6.2f} [{low:.2f}, {high:.2f}]")
    return rate


def by_ngrams(train, test, order):
    """Log probability of each piece by n-grams; unseen notes get the probability of unknown words."""
    model = kneser_ney.train(train, order=order)
    return [model.sentence(text.split()) for text in test]


def main(data_dir: str, out: str = "runs/chorales", options=OPTIONS, shift: int = SHIFT, resume: bool = False):
    """Train, evaluate and generate a chorale; returns nats per time step of the test pieces, by model.

    Args:
        data_dir: Folder of the chorales.
        out: Folder for model and logs.
        shift: Largest number of semitones by which pieces are transposed, up and down.
        resume: Resume an interrupted run.
    """
    parts = read(data_dir)
    test = [spelled(piece) for piece in parts["test"]]
    train = [spelled(piece, by) for piece in parts["train"] for by in range(-shift, shift + 1)]
    known_notes = {note for text in train for note in text.split()}
    valid = [text for text in map(spelled, parts["valid"]) if known_notes.issuperset(text.split())]
    notes = range(21, 109)  # of a piano, since the test set has a note that is not in the training set
    keras.utils.set_random_seed(options.seed)
    model = LanguageModel.for_manifest([*train, " ".join(map(str, notes))], symbols="words", **NETWORK)
    model.card = {"task": "four-part chorales by quarters", "data": "JSB chorales, split of Boulanger-Lewandowski"}
    more = {"options": options, "out": f"{out}/chorales.keras", "resume": resume, "overwrite": not resume}
    run = sr.train(model, train, valid=valid, **more).completed()
    print(f"{len(test)} test pieces, nats for each of {sum(map(len, parts['test'])):,} time steps [95 % over pieces]")
    rates = {}
    for order in (3, ORDER):
        name = f"{order}-gram of notes"
        rates[name] = line(name, by_ngrams(train, test, order), parts["test"])
    rates["recurrent"] = line("recurrent", run.model.scores(test), parts["test"])
    run.model.export(f"{out}/chorales.onnx", overwrite=True)
    generated = sr.load(f"{out}/chorales.onnx").generate(length=300, top_k=8, seed=1).text
    Path(out, "written.txt").write_text(generated)
    Path(out, "written.mid").write_bytes(midi(generated))
    return rates


if __name__ == "__main__":
    recipe(main)
