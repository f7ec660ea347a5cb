"""A voice: LJ Speech is aligned by the included recognizer, a voice is trained, and recognizers measure it.

    python -m pipelines.voice --data-dir DIR

DIR has `LJSpeech-1.1`, or a part of it. One sentence in twenty is held out to choose the epoch, another to be read
aloud at the end. The recognizer is pocketsphinx, not trained on the speaker (`pip install pocketsphinx`; without it
there are no word errors). espeak-ng, if installed, reads the same. The same command resumes an interrupted run.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np

import speechrnn as sr
from speechrnn.cli.scripts import recipe
from speechrnn.data import manifest
from speechrnn.data.corpora import ljspeech
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.faults import Faults
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import rate_interval
from speechrnn.models.loading import open_model
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.synthesis import SpeechSynthesizer, SynthesizerTraining, aligned
from speechrnn.tasks.synthesis.phones import fitted
from speechrnn.text import lexicons

OPTIONS = SynthesizerTraining(epochs=150, average=0.998)
NETWORK = {}
HOLD_OUT_EVERY = 20  # sentences per validation sentence, and per test sentence
CARD = {
    "task": "reads English aloud",
    "data": "LJ Speech (public domain), aligned by speechrnn's own recognizer",
    "license": "public domain; the lexicon is CMUdict's, BSD 2-clause, copyright Carnegie Mellon University",
}


def parts(data_dir, out, lexicon, recognizer="english"):
    """Training, validation and test sentences; aligned once, then read from a file."""
    path = Path(out, "aligned.jsonl")
    if not path.exists():
        faults = Faults()
        prepared = ljspeech.prepare(data_dir, Path(out, "manifests"), overwrite=True, faults=faults)["train"]
        session = open_model(recognizer, "recognizer")
        words = (word for example in prepared for word in example.text.split())
        known = lexicon.joined(lexicon.guessed(words, LettersToPhones(lexicon)))
        aligned_examples = aligned(prepared, session, known, faults=faults)
        print(faults.summary(len(prepared)) if len(faults) else f"{len(aligned_examples)} sentences aligned")
        manifest.write(path, aligned_examples)
    examples = manifest.read(path)
    test, valid = examples[HOLD_OUT_EVERY // 2 :: HOLD_OUT_EVERY], examples[::HOLD_OUT_EVERY]
    held_out = {example.id for example in (*test, *valid)}
    return [example for example in examples if example.id not in held_out], valid, test


def pocketsphinx():
    """A recognizer that was not trained on our speakers; None if it is not installed."""
    try:
        from pocketsphinx import Decoder
    except ModuleNotFoundError:
        return None
    decoder = Decoder(samprate=16000, loglevel="FATAL")

    def recognize(signal, sample_rate):
        decoder.start_utt()
        decoder.process_raw((np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp().hypstr if decoder.hyp() else ""

    return recognize


def espeak(examples, spoken, listener):
    """Word error rate of a recognizer on espeak-ng's speech of the same sentences, with its interval."""
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        for one in spoken:
            written = next(e.extra.get("written", e.text) for e in examples if e.id == one.id)
            subprocess.run(["espeak-ng", "-v", "en-us", "-w", f"{folder}/a.wav", written], check=True)
            signal, rate = sr.audio.read(f"{folder}/a.wav", sample_rate=16000)
            counts.append(edits.counts(one.text.split(), listener(signal, rate).split()))
    return sum(counts, Edits()).rate, rate_interval(counts)


def main(
    data_dir: str, out: str = "runs/voice", *, options=OPTIONS, listener=None, lexicon=None, recognizer="english",
    **network,
):  # fmt: skip
    """Align, train, synthesize and evaluate; returns the report.

    Args:
        data_dir: Folder of LJSpeech-1.1.
        out: Folder for manifests, models and logs.
    """
    lexicon = lexicon or lexicons.cmudict(keep_stress=True)
    training, valid, test = parts(data_dir, out, lexicon, recognizer)
    keras.utils.set_random_seed(options.seed)
    model = SpeechSynthesizer.for_manifest(training, **{**NETWORK, **network})
    model.card = CARD
    run = sr.train(model, training, valid=valid, options=options, out=f"{out}/voice.keras", resume=True).completed()
    run.model.export(f"{out}/voice.onnx", int8=True, overwrite=True)
    fitted(lexicon, model.vocabulary).write(f"{out}/voice.lexicon", overwrite=True)
    path = f"{out}/english_voice.onnx"
    attachments.attach(f"{out}/voice.onnx", path, lexicon=f"{out}/voice.lexicon", overwrite=True)
    listener = listener or pocketsphinx()
    report = sr.load(path).evaluate(test, recognizer=listener)
    print(f"{len(training)} sentences learned; {report}")
    if listener and shutil.which("espeak-ng"):
        rate, (low, high) = espeak(test, report.spoken, listener)
        print(f"espeak-ng: the listener's word error rate {100 * rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    return report


if __name__ == "__main__":
    recipe(main)
