"""Train a language model, measure its perplexity, tune its weight, or let it write."""

from __future__ import annotations

import argparse
import gzip
import itertools
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from speechrnn import text
from speechrnn.cli import lm_rnn, lm_tune, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.faults import suggestion
from speechrnn.files import refuse_existing

if TYPE_CHECKING:
    from speechrnn.decoding.lm.ngram import Perplexity

_TRAIN = "speechrnn.decoding.lm.kneser_ney:train"

_USAGE = """\
usage: speechrnn lm train TEXT [TEXT ...] --out LM.lm [--order N] [--pruning X] [--characters]
       speechrnn lm train TEXT [TEXT ...] --kind rnn --out LM.keras [--valid TEXT] [--resume]
       speechrnn lm perplexity LM TEXT [TEXT ...]
       speechrnn lm tune MODEL MANIFEST [--lm LM.arpa] [--rescore LM.keras]
       speechrnn lm generate LM.keras [--length N] [--temperature X] [--seed N] [--prefix TEXT]

Train an n-gram language model (modified Kneser-Ney) or a recurrent one over characters, measure how well it foretells
a text, find the weights with which a recogniser makes the fewest errors on a validation manifest, or let a recurrent
one write. TEXT is a file with one sentence a line, also compressed (.gz, .xz), or a manifest (.jsonl). `speechrnn lm
train --help` and so on explain each.
"""


def run(words: list[str]) -> int:
    """Do what the first word says."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "train": _train,
        "perplexity": _perplexity,
        "tune": lm_tune.run,
        "generate": lm_rnn.generate,
    }
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    if words and words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    given = f"unknown `{words[0]}`.{suggestion(words[0], verbs)}" if words else f"one of {', '.join(verbs)} is needed."
    return Parser(prog="speechrnn lm", usage=f"speechrnn lm {'|'.join(verbs)} ...").error(given)


def parser() -> Parser:
    """The options of `lm train`."""
    made = Parser(
        prog="speechrnn lm train",
        usage="speechrnn lm train TEXT [TEXT ...] --out LM [--kind ngram|rnn] [options]",
        description="Train a language model: n-grams with modified Kneser-Ney smoothing, or an LSTM over characters.",
    )
    made.add_argument(
        "texts", nargs="+", metavar="TEXT", help="one sentence a line, also .gz or .xz; or a .jsonl manifest"
    )
    made.add_argument("--kind", choices=("ngram", "rnn"), default="ngram", help="of model (default: ngram)")
    made.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="a .lm file, which loads at once, or an ARPA file, gzipped if its name ends in .gz; of an rnn a .keras",
    )
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    _add_normalize(made)
    add_options(made, _TRAIN, title="n-grams", prefix="lm", skip=("sentences",))
    made.add_argument(
        "--bits",
        type=int,
        choices=(8, 32),
        help="of each probability in a .lm file; 8: the nearest of 256 values (default: 32)",
    )
    lm_rnn.add(made)
    return made


def _add_normalize(made: Parser) -> None:
    made.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="bring texts to lower case without punctuation first (default: on)",
    )


def _train(words: list[str]) -> int:
    made = parser()
    arguments = made.parse_args(words)
    foreign = lm_rnn.given(arguments) if arguments.kind == "ngram" else list(collect(arguments, _TRAIN))
    if foreign:
        flags = ", ".join("--" + name.replace("_", "-") for name in foreign)
        made.error(f"{flags} cannot be given with --kind {arguments.kind}.")
    if not arguments.resume:
        refuse_existing(arguments.out, overwrite=arguments.overwrite)
    sentences = sentences_of(arguments.texts, arguments.normalize)
    if arguments.kind == "rnn":
        return lm_rnn.learn(arguments, list(sentences), list(sentences_of(arguments.valid, arguments.normalize)))
    from speechrnn.decoding.lm import kneser_ney

    read = itertools.count()
    counted = (sentence for sentence in sentences if next(read) >= 0)
    model = kneser_ney.train(counted, **collect(arguments, _TRAIN))
    model.write(arguments.out, bits=arguments.bits, overwrite=arguments.overwrite)
    sizes = ", ".join(f"{size:,} {n}-grams" for n, size in enumerate(model.sizes, start=1))
    print(f"{arguments.out}: {sizes} from {next(read):,} sentences", flush=True)
    return 0


def _perplexity(words: list[str]) -> int:
    made = Parser(
        prog="speechrnn lm perplexity",
        usage="speechrnn lm perplexity LM TEXT [TEXT ...] [--json]",
        description="Perplexity of a text under a language model, each sentence's end counted.",
    )
    made.add_argument("lm", metavar="LM", help="an ARPA file, or a recurrent model (.keras or .onnx)")
    made.add_argument(
        "texts", nargs="+", metavar="TEXT", help="one sentence a line, also .gz or .xz; or a .jsonl manifest"
    )
    made.add_argument("--json", action="store_true", help="one JSON object")
    _add_normalize(made)
    arguments = made.parse_args(words)
    sentences = sentences_of(arguments.texts, arguments.normalize)
    found: Perplexity
    if lm_rnn.is_recurrent(arguments.lm):
        from speechrnn.decoding import rescoring

        found = rescoring.perplexity(lm_rnn.load(arguments.lm), sentences)
    else:
        from speechrnn.decoding.lm import ngram

        found = ngram.load(arguments.lm).perplexity(sentences)
    if arguments.json:
        print(terminal.as_json(asdict(found)))
    elif lm_rnn.is_recurrent(arguments.lm):
        print(
            f"perplexity {found.perplexity:.2f} a word, {asdict(found)['bits_per_character']:.3f} bits a character; "
            f"{found.words:,} words, all spelled"
        )
    else:
        print(
            f"perplexity {found.perplexity:.2f}, {found.known:.2f} without unknown words; "
            f"{found.unknown:,} of {found.words:,} words are unknown"
        )
    return 0


def sentences_of(paths: list[str], normalize: bool) -> Iterator[str]:
    """The sentences of text files and manifests; white lines are passed over."""
    for path in paths:
        for line in _lines(path):
            line = text.normalize(line) if normalize else line.strip()
            if line:
                yield line


def _opened(path: str) -> IO[str]:
    opens = {".gz": gzip.open, ".xz": lzma.open}.get(os.path.splitext(path)[1], open)
    return opens(path, "rt", encoding="utf-8-sig")  # editors of Windows begin a file with a mark


def _lines(path: str) -> Iterator[str]:
    if os.fspath(path).endswith(".jsonl"):
        yield from (example.text or "" for example in manifest.read(path))
        return
    try:
        with _opened(path) as file:
            yield from file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path}: must be text in UTF-8, one sentence a line. {error}") from error
