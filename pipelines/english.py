"""Read English: phones, a lexicon and a trigram of books, trained on the speech of one folder.

    python -m pipelines.english --data-dir DIR --out runs/english
    python -m pipelines.english --data-dir DIR --out runs/longer --start runs/english/english.keras --epochs 20
    python -m pipelines.english --data-dir DIR --out runs/deeper --start runs/longer/english.keras --layers 5

DIR has `LibriSpeech`, `speechocean762`, `common_voice/en`, `LJSpeech-1.1`, `an4`, `fsdd` and `lm`, 11.6 hours together;
missing ones are left out. `esc10` is noise: under the speech, and alone, with nothing to write. LibriSpeech's
`dev-clean-5` chooses the epoch; the test sets are used once, at the end. Words that CMUdict lacks are pronounced like
similar ones. The same command resumes an interrupted run. `--start` continues from a model of the same phones, and
first aligns the texts with it, so that each word is learned as it was pronounced; with more `--layers`, the additional
ones begin as the identity. Its features may have had another hop.
"""

from dataclasses import replace
from pathlib import Path

import keras

from pipelines.english_speech import NOISE, VALID, corpora
from speechrnn import Augmentation, LogMel, RecognizerTraining, SpeechRecognizer, train
from speechrnn.cli.scripts import recipe
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle as load
from speechrnn.tasks.recognition.building import for_manifest
from speechrnn.tasks.recognition.evaluation import evaluate, print_report
from speechrnn.tasks.recognition.network import init_from_shallower
from speechrnn.tasks.recognition.phones import pronounced
from speechrnn.text import Lexicon, lexicons

NETWORK = {"units": 192, "layers": 3, "convolutions": 2, "dropout": 0.2}
FEATURES = {"hop": 128}  # 8 ms, so that four frames are 32 ms
OPTIONS = RecognizerTraining(epochs=11, batch_seconds=96, learning_rate=2e-3, average=0.998)
AUGMENTATION = Augmentation.speech(reverberation=(0.1, 0.6), rir_probability=0.25, noise_probability=0.25)
SPELLED = {"a": [(("EY",), 1.0)]}  # in AN4 the letter, not the article
CARD = {
    "task": "read English, letters, numbers and commands",
    "data": "LibriSpeech (train-clean-5 and 3 speakers of train-clean-100; CC BY 4.0), speechocean762, Common Voice "
    "(CC0), LJ Speech (public domain), CMU AN4 training set, four speakers of FSDD (CC BY-SA 4.0); noise of ESC-10 "
    "(CC BY 3.0)",
    "license": "CC BY-SA 4.0, since FSDD is",
}


def main(
    data_dir: str,
    out: str = "runs/english",
    start: str | None = None,
    layers: int | None = None,
    dropout: float | None = None,
    options=OPTIONS,
    **network,
):
    """Train, and report phone errors on the validation and test sets.

    Args:
        data_dir: The folder of corpora.
        out: Folder for manifests, lexicon, model and logs.
        start: A .keras recognizer of these phones to continue from.
        layers: Number of recurrent layers; by default 3, or those of `start`.
        dropout: Fraction of activations dropped in training; by default 0.2, or that of `start`.
    """
    network |= {name: value for name, value in {"layers": layers, "dropout": dropout}.items() if value is not None}
    faults = Faults()
    training, spelled, evaluated = corpora(Path(data_dir), Path(out, "manifests"), faults)
    lexicon = lexicons.cmudict()
    texts = [example.text or "" for part in (training, spelled, *evaluated.values()) for example in part]
    lexicon = lexicon.joined(lexicon.guessed((w for text in texts for w in text.split()), LettersToPhones(lexicon)))
    lexicon.write(Path(out, "english.lexicon"), overwrite=True)
    letters = Lexicon({**lexicon, **SPELLED})
    start_model = load(start) if start else None
    learned = pronounced(training, lexicon, faults=faults, model=start_model)
    learned += pronounced(spelled, letters, faults=faults, model=start_model) if spelled else []
    test_sets = {n: pronounced(es, letters if n == "an4" else lexicon, faults=faults) for n, es in evaluated.items()}
    print(faults.summary(len(learned) + len(faults)))
    keras.utils.set_random_seed(options.seed)
    if start_model and not network:
        model = SpeechRecognizer(LogMel(16000, **FEATURES), start_model.network, start_model.vocabulary)
    else:
        model = for_manifest(learned, vocabulary=lexicon.vocabulary(), features=FEATURES, **{**NETWORK, **network})
        if start_model:
            init_from_shallower(model.network, start_model.network)
    model.card = {**CARD, **({"begun_from": start_model.card} if start_model else {})}
    path = Path(out, "english.keras")
    noisy = Path(data_dir, NOISE).is_dir()
    augment = replace(AUGMENTATION, noise_folder=str(Path(data_dir, NOISE)) if noisy else None)
    run = train(
        model, learned, valid=test_sets[VALID], options=options, augment=augment, out=path, resume=True
    ).completed()
    reports = {name: evaluate(run.model, examples) for name, examples in test_sets.items()}
    for name, report in reports.items():
        print(f"{name}, phones:")
        print_report(report)
    return run, reports


if __name__ == "__main__":
    recipe(main)
