"""Read English: phones, a lexicon and a trigram of books, trained on the speech of one folder.

    python -m pipelines.english --data-dir DIR --out runs/english
    python -m pipelines.english --data-dir DIR --out runs/longer --start runs/english/english.keras --epochs 20
    python -m pipelines.english --data-dir DIR --out runs/deeper --start runs/longer/english.keras --layers 5

DIR has `LibriSpeech`, `speechocean762`, `common_voice/en`, `LJSpeech-1.1`, `an4`, `fsdd` and `lm`, 11.6 hours together;
missing ones are left out. LibriSpeech's `dev-clean-5` chooses the epoch; the test sets are used once, at the end. Words
that CMUdict lacks are pronounced like similar ones. The same command resumes an interrupted run. `--start` continues
from a model of the same phones, and first aligns the texts with it, so that each word is learned as it was pronounced;
with more `--layers`, the additional ones begin as the identity. Its features may have had another hop.
"""

from pathlib import Path

import keras

from speechrnn import Augmentation, LogMel, RecognizerTraining, SpeechRecognizer, train
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4, common_voice, fsdd, kaldi, librispeech, ljspeech
from speechrnn.data.manifest import split_by_subject
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle as load
from speechrnn.tasks.recognition.building import for_manifest
from speechrnn.tasks.recognition.evaluation import evaluate, print_report
from speechrnn.tasks.recognition.network import take_over
from speechrnn.tasks.recognition.phones import pronounced
from speechrnn.text import Lexicon, lexicons

TRAINING, VALID = ("train-clean-5", "train-clean-100-3"), "dev-clean-5"
TESTS = ("test-other-100",)
HELD_OUT = ("theo", "yweweler")  # of FSDD
NETWORK = {"units": 192, "layers": 3, "convolutions": 2, "dropout": 0.2}
FEATURES = {"hop": 160}  # 10 ms, so that four frames are 40 ms
OPTIONS = RecognizerTraining(epochs=11, batch_seconds=96, learning_rate=2e-3, average=0.998)
AUGMENTATION = Augmentation.speech()
SPELLED = {"a": [(("EY",), 1.0)]}  # in AN4 the letter, not the article
CARD = {
    "task": "read English, letters, numbers and commands",
    "data": "LibriSpeech (train-clean-5 and 3 speakers of train-clean-100; CC BY 4.0), speechocean762, Common Voice "
    "(CC0), LJ Speech (public domain), CMU AN4 training set, four speakers of FSDD (CC BY-SA 4.0)",
    "license": "CC BY-SA 4.0, since FSDD is",
}


def main(data_dir: str, out: str = "runs/english", start: str | None = None, options=OPTIONS, **network):
    """Train, and report phone errors on the validation and test sets.

    Args:
        data_dir: The folder of corpora.
        out: Folder for manifests, lexicon, model and logs.
        start: A .keras recognizer of these phones to continue from.
    """
    faults = Faults()
    training, spelled, evaluated = corpora(Path(data_dir), Path(out, "manifests"), faults)
    lexicon = lexicons.cmudict()
    texts = [example.text or "" for part in (training, spelled, *evaluated.values()) for example in part]
    lexicon = lexicon.joined(lexicon.guessed((w for text in texts for w in text.split()), LettersToPhones(lexicon)))
    lexicon.write(Path(out, "english.lexicon"), overwrite=True)
    letters = Lexicon({**lexicon, **SPELLED})
    begun = load(start) if start else None
    learned = pronounced(training, lexicon, faults=faults, model=begun)
    learned += pronounced(spelled, letters, faults=faults, model=begun) if spelled else []
    said = {n: pronounced(es, letters if n == "an4" else lexicon, faults=faults) for n, es in evaluated.items()}
    print(faults.summary(len(learned) + len(faults)))
    keras.utils.set_random_seed(options.seed)
    if begun and not network:
        model = SpeechRecognizer(LogMel(16000, **FEATURES), begun.network, begun.vocabulary)
    else:
        model = for_manifest(learned, vocabulary=lexicon.vocabulary(), features=FEATURES, **{**NETWORK, **network})
        if begun:
            take_over(model.network, begun.network)
    model.card = {**CARD, **({"begun_from": begun.card} if begun else {})}
    path = Path(out, "english.keras")
    run = train(model, learned, valid=said[VALID], options=options, augment=AUGMENTATION, out=path, resume=True)
    reports = {name: evaluate(run.model, examples) for name, examples in said.items()}
    for name, report in reports.items():
        print(f"{name}, phones:")
        print_report(report)
    return run, reports


def corpora(folder: Path, out: Path, faults: Faults):
    """What is learned from, the part of it where letters are spelled, and what is evaluated on, by name."""
    parts = librispeech.prepare(folder / "LibriSpeech", out / "librispeech", overwrite=True, faults=faults)
    training = {e.id: e for name in TRAINING for e in parts.get(name, ())}  # a speaker may be in both
    evaluated, spelled = {name: parts[name] for name in (VALID, *TESTS) if name in parts}, []
    if (folder / "speechocean762").is_dir():
        ocean = kaldi.prepare(folder / "speechocean762", out / "speechocean762", overwrite=True, faults=faults)
        training |= {f"speechocean-{e.id}": e for split in ocean.values() for e in split}
    if (folder / "common_voice/en").is_dir():
        options = {"splits": ("validated",), "overwrite": True, "faults": faults}
        voices = common_voice.prepare(folder / "common_voice/en", out / "common_voice", **options)["validated"]
        kept, evaluated["common voice"] = split_by_subject(voices, fraction=0.1, seed=1)
        training |= {e.id: e for e in kept}
    if (folder / "LJSpeech-1.1").is_dir():
        training |= {e.id: e for e in ljspeech.prepare(folder, out / "lj", overwrite=True, faults=faults)["train"]}
    if (folder / "an4").is_dir():
        letters = an4.prepare(folder / "an4", out / "an4", overwrite=True, faults=faults)
        spelled, evaluated["an4"] = letters["train"], letters["test"]
    if (folder / "fsdd").is_dir():
        options = {"by": "speaker", "held_out": HELD_OUT, "overwrite": True, "faults": faults}
        digits = fsdd.prepare(folder / "fsdd", out / "fsdd", **options)
        training |= {e.id: e for e in digits["train"]}
        evaluated["fsdd"] = digits["test"]
    return list(training.values()), spelled, evaluated


if __name__ == "__main__":
    recipe(main)
