"""Train an n-gram language model, measure its perplexity, or tune its weight."""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from speechrnn import manifest, text
from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Faults, suggestion
from speechrnn.files import refuse_existing

_TRAIN = "speechrnn.decoding.kneser_ney:train"

_USAGE = """\
usage: speechrnn lm train TEXT [TEXT ...] --out LM.arpa [--order N] [--characters]
       speechrnn lm perplexity LM.arpa TEXT [TEXT ...]
       speechrnn lm tune MODEL MANIFEST --lm LM.arpa

Train an n-gram language model (modified Kneser-Ney), measure how well it foretells a text, or find the weights with
which a recogniser makes the fewest errors on a validation manifest. TEXT is a file with one sentence a line, which may
be gzipped, or a manifest (.jsonl). `speechrnn lm train --help` and so on explain each.
"""


def run(words: list[str]) -> int:
    """Do what the first word says."""
    verbs: dict[str, Callable[[list[str]], int]] = {"train": _train, "perplexity": _perplexity, "tune": _tune}
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    if words and words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    given = (
        f"unknown `{words[0]}`.{suggestion(words[0], verbs)}" if words else "one of train, perplexity, tune is needed."
    )
    return Parser(prog="speechrnn lm", usage="speechrnn lm train|perplexity|tune ...").error(given)


def parser() -> Parser:
    """The options of `lm train`."""
    made = Parser(
        prog="speechrnn lm train",
        usage="speechrnn lm train TEXT [TEXT ...] --out LM.arpa [--order N] [--characters]",
        description="Train an n-gram language model with modified Kneser-Ney smoothing.",
    )
    made.add_argument(
        "texts", nargs="+", metavar="TEXT", help="one sentence a line, also gzipped; or a .jsonl manifest"
    )
    made.add_argument("--out", required=True, metavar="FILE", help="the ARPA file; gzipped if its name ends in .gz")
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    _add_normalize(made)
    add_options(made, _TRAIN, title="model", prefix="lm", skip=("sentences",))
    return made


def _add_normalize(made: Parser) -> None:
    made.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="bring texts to lower case without punctuation first (default: on)",
    )


def _train(words: list[str]) -> int:
    arguments = parser().parse_args(words)
    refuse_existing(arguments.out, overwrite=arguments.overwrite)
    from speechrnn.decoding import arpa, kneser_ney

    sentences = list(_sentences(arguments.texts, arguments.normalize))
    names, levels = kneser_ney.train(sentences, **collect(arguments, _TRAIN))
    arpa.write(arguments.out, names, levels, overwrite=arguments.overwrite)
    sizes = ", ".join(f"{len(level.words):,} {n}-grams" for n, level in enumerate(levels, start=1))
    print(f"{arguments.out}: {sizes} from {len(sentences):,} sentences", flush=True)
    return 0


def _perplexity(words: list[str]) -> int:
    made = Parser(
        prog="speechrnn lm perplexity",
        usage="speechrnn lm perplexity LM TEXT [TEXT ...] [--json]",
        description="Perplexity of a text under a language model, each sentence's end counted.",
    )
    made.add_argument("lm", metavar="LM", help="an ARPA file")
    made.add_argument(
        "texts", nargs="+", metavar="TEXT", help="one sentence a line, also gzipped; or a .jsonl manifest"
    )
    made.add_argument("--json", action="store_true", help="one JSON object")
    _add_normalize(made)
    arguments = made.parse_args(words)
    from speechrnn.decoding import ngram

    found = ngram.load(arguments.lm).perplexity(_sentences(arguments.texts, arguments.normalize))
    if arguments.json:
        print(terminal.as_json(asdict(found)))
    else:
        print(
            f"perplexity {found.perplexity:.2f}, {found.known:.2f} without unknown words; "
            f"{found.unknown:,} of {found.words:,} words are unknown"
        )
    return 0


def _tune(words: list[str]) -> int:
    made = Parser(
        prog="speechrnn lm tune",
        usage="speechrnn lm tune MODEL MANIFEST --lm LM [--beam N] [--json]",
        description="Find the weights with the fewest word errors on a validation manifest; the model runs once.",
    )
    made.add_argument("model", metavar="MODEL", help="a .keras recogniser")
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts; not the test set")
    made.add_argument("--json", action="store_true", help="all trials as one JSON object")
    terminal.add_output(made)
    decoding.add(made, skip=("lm_weight", "word_bonus"))
    arguments = made.parse_args(words)
    if not decoding.given(arguments).get("lm"):
        made.error("--lm LM is needed.")
    from speechrnn.decoding.tuning import tune
    from speechrnn.transcribe import logits_of

    faults = Faults()
    examples = [example for example in manifest.read(arguments.manifest, faults=faults) if example.text]
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        model = terminal.load_model(arguments.model)
        search = decoding.chosen(arguments, model.vocabulary)
        with terminal.progress(len(examples), "utterances") as progress:
            found = list(logits_of(model, examples, faults=faults, progress=progress))
        with terminal.progress(None, "weights") as progress:
            trials = tune(search, [v for _, v in found], [e.text or "" for e, _ in found], progress=progress)
        for fault in faults:
            terminal.name_fault(fault)
        if arguments.json:
            print(terminal.as_json([_shown(trial) for trial in trials], indent=1), file=out)
        else:
            best = trials[0]
            print(f"--lm-weight {best.lm_weight:g} --word-bonus {best.word_bonus:g}", file=out)
            print(f"WER {100 * best.words.rate:.2f} %, CER {100 * best.characters.rate:.2f} %", file=out)
        out.flush()
    return terminal.verdict(faults, len(examples) + len(faults), noun="utterances")


def _shown(trial: Any) -> dict[str, float]:
    return {
        "lm_weight": trial.lm_weight,
        "word_bonus": trial.word_bonus,
        "wer": trial.words.rate,
        "cer": trial.characters.rate,
    }


def _sentences(paths: list[str], normalize: bool) -> Iterator[str]:
    """The sentences of text files and manifests; white lines are passed over."""
    for path in paths:
        for line in _lines(path):
            line = text.normalize(line) if normalize else line.strip()
            if line:
                yield line


def _lines(path: str) -> Iterator[str]:
    if os.fspath(path).endswith(".jsonl"):
        yield from (example.text or "" for example in manifest.read(path))
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8") as file:
            yield from file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: must be text in UTF-8, one sentence a line. {error}") from error
