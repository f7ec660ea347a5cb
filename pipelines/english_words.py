"""From a model of English phones to one file that writes words: with a lexicon, a trigram of books and tuned weights.

    python -m pipelines.english --data-dir DIR --out runs/english
    python -m pipelines.english_words --data-dir DIR --model runs/english/english.keras --out runs/english

The lexicon has the words of the texts in DIR/lm that CMUdict contains, those that it lacks if they occur at least five
times (pronounced like similar ones), and those of letters, numbers and commands. The trigram of the same texts has only
these words, and is pruned. `dev-clean-5` chooses the weights; the test sets are used once, at the end: LibriSpeech's
with the trigram, AN4's with a trigram of its own training texts, FSDD's with a list of ten words.
"""

import collections
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path

from pipelines.english_speech import HELD_OUT, TESTS, VALID
from speechrnn import text
from speechrnn.cli.scripts import recipe
from speechrnn.data.corpora import an4, fsdd, librispeech
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.decoding.lm import kneser_ney
from speechrnn.decoding.lm.ngram import load as load_lm
from speechrnn.decoding.tuning import tune
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle, load_session
from speechrnn.tasks.recognition import attachments, priors
from speechrnn.tasks.recognition.evaluation import evaluate, print_report
from speechrnn.tasks.recognition.transcription import logits_of
from speechrnn.text import Lexicon, lexicons

ORDER, PRUNE, BITS = 3, 1e-7, 8
KNOWN, GUESSED = 2, 5
"""Minimum number of occurrences in the texts, for words in CMUdict and for others."""
PRIOR = 0.5
"""Scale of the phones' log priors subtracted from the logits (`speechrnn.tasks.recognition.priors`)."""
BEAM, TUNED, EVERY = 128, 64, 3
"""Beam width, beam width for tuning the weights, and step between the validation clips used for tuning."""


def main(data_dir: str, model: str, out: str = "runs/english", lm: str | None = None, lexicon: str | None = None):
    """Export, choose weights, pack and evaluate.

    Args:
        data_dir: The folder of corpora.
        model: The .keras model that pipelines/english.py made.
        out: Folder for the language model, the lexicon and the model.
        lm: An existing language model, instead of a new one of the books.
        lexicon: An existing lexicon, instead of a new one.
    """
    folder, out_folder = Path(data_dir), Path(out)
    parts = librispeech.prepare(folder / "LibriSpeech", out_folder / "words", subsets=[VALID, *TESTS], overwrite=True)
    letters = an4.prepare(folder / "an4", out_folder / "words/an4", overwrite=True)
    fsdd_options = {"by": "speaker", "held_out": HELD_OUT, "overwrite": True}
    digits = fsdd.prepare(folder / "fsdd", out_folder / "words/fsdd", **fsdd_options)["test"]
    spelled = [example.text or "" for example in letters["train"]]
    known = lexicons.read(lexicon) if lexicon else words(folder / "lm", spelled)
    known.write(out_folder / "words.lexicon", overwrite=True)
    trigram = load_lm(lm) if lm else kneser_ney.train(books(folder / "lm"), order=ORDER, prune=PRUNE, vocabulary=known)
    trigram.write(out_folder / "english.lm", bits=BITS, overwrite=True)
    kneser_ney.train(spelled, order=ORDER).write(out_folder / "an4.lm", overwrite=True)
    bundle = load_bundle(model)
    priors.subtract(bundle, priors.log_priors(logits_and_texts(bundle, parts[VALID])[0]), scale=PRIOR)
    phones = bundle.export(out_folder / "phones.onnx", int8=True, overwrite=True)
    files = {"lexicon": out_folder / "words.lexicon", "lm": out_folder / "english.lm"}
    weights = {"beam": BEAM, **tuned_weights(load_session(phones), parts[VALID][::EVERY], {**files, "beam": TUNED})}
    print(f"{VALID} chose {weights}", flush=True)
    packed = out_folder / "english.onnx"
    attachments.attach(phones, packed, overwrite=True, **files, **weights)
    print(f"{packed}: {packed.stat().st_size / 1e6:.1f} MB")
    session = load_session(packed)
    (out_folder / "digits.txt").write_text("".join(f"{word}\n" for word in fsdd.DIGITS))
    sets = {name: (parts[name], {}) for name in (VALID, *TESTS)}
    sets["AN4 test, its own trigram"] = letters["test"], {"lm": out_folder / "an4.lm", "beam": BEAM}
    sets["FSDD, two other speakers, ten words"] = digits, {"words": out_folder / "digits.txt"}
    reports = {}
    for name, (examples, options) in sets.items():
        reports[name] = evaluate(session, examples, decoder=attachments.decoder(session, **options))
        print(f"\n{name}", flush=True)
        print_report(reports[name])
    return reports


def books(folder: Path) -> Iterator[str]:
    """Yield the sentences of the texts in a folder, except the validation texts."""
    for path in sorted(folder.glob("*.txt.*z")):
        if "valid" not in path.name:
            with (lzma.open if path.suffix == ".xz" else gzip.open)(path, "rt", encoding="utf-8") as file:
                yield from filter(None, map(text.normalize, file))


def words(folder: Path, spelled: list[str]) -> Lexicon:
    """Lexicon of the words of books, letters, numbers and commands; pronunciations not in CMUdict are predicted."""
    known, counts = lexicons.cmudict(), collections.Counter(word for line in books(folder) for word in line.split())
    selected = dict.fromkeys(word for line in [*spelled, *fsdd.DIGITS] for word in line.split())
    selected |= {word: None for word, n in counts.items() if n >= (KNOWN if word in known else GUESSED)}
    guessed = known.guessed([word for word in selected if word not in known], LettersToPhones(known))
    return known.joined(guessed).only(selected)


def logits_and_texts(model, examples):
    """Logits of the examples, and their texts."""
    pairs = list(logits_of(model, examples, faults=Faults()))
    return [values for _, values in pairs], [example.text or "" for example, _ in pairs]


def tuned_weights(session, examples, options) -> dict[str, float]:
    """Tune the language model's weight and the word bonus for the lowest WER."""
    best = tune(attachments.decoder(session, **options), *logits_and_texts(session, examples))[0]
    return {"lm_weight": best.lm_weight, "word_bonus": best.word_bonus}


if __name__ == "__main__":
    recipe(main)
