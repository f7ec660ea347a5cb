"""Turn a corpus folder into manifests."""

from __future__ import annotations

from pathlib import Path

from speechrnn.cli import terminal
from speechrnn.cli.declared import declaration
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data.corpora import CORPORA, prepare_function
from speechrnn.faults import Faults, suggestion

_EPILOG = """\
Writes one manifest a split, such as OUT/train.jsonl, and prints their names, numbers and hours. Recordings that cannot
be used are named on standard error and left out, and the exit code is 1. `speechrnn prepare CORPUS --help` lists a
corpus's own options.
"""


def parser(corpus: str | None = None) -> Parser:
    """The verb's options, with those of a corpus once it is known."""
    listed = "\n".join(f"  {name:15} {what}" for name, what in CORPORA.items())
    made = Parser(
        prog="speechrnn prepare",
        usage=f"speechrnn prepare {corpus or 'CORPUS'} DIR --out OUT [options]",
        description=f"{__doc__}\n\ncorpora:\n{listed}",
        epilog=_EPILOG,
    )
    made.add_argument("corpus", metavar="CORPUS", help="one of those above")
    made.add_argument("folder", metavar="DIR", help="the unpacked corpus")
    made.add_argument("--out", required=True, metavar="OUT", help="folder for the manifests")
    if corpus:
        given = [option.name for option in declaration(_reference(corpus)).options[:2]]  # DIR and OUT
        skip = (*given, "faults", "progress")
        add_options(made, _reference(corpus), title=corpus, prefix=corpus, skip=skip)
    return made


def run(words: list[str]) -> int:
    """Prepare; 0 if every recording could be used, 1 otherwise."""
    corpus = words[0].replace("-", "_") if words and not words[0].startswith("-") else None
    if corpus is not None and corpus not in CORPORA:
        parser().error(f"unknown corpus `{corpus}`.{suggestion(corpus, CORPORA)} Known: {', '.join(CORPORA)}.")
    arguments = parser(corpus).parse_args(words)
    if corpus is None:
        parser().error("the corpus comes first, as in `speechrnn prepare an4 DIR --out OUT`.")
    faults = Faults()
    with terminal.progress(None, "recordings") as progress:
        splits = prepare_function(corpus)(
            arguments.folder,
            arguments.out,
            faults=faults,
            progress=progress,
            **collect(arguments, _reference(corpus)),
        )
    for fault in faults:
        terminal.name_fault(fault)
    for split, examples in splits.items():
        hours = sum(example.duration for example in examples) / 3600
        print(f"{Path(arguments.out) / split}.jsonl: {len(examples):,} examples, {hours:.2f} h", flush=True)
    return terminal.verdict(faults, sum(map(len, splits.values())) + len(faults), noun="recordings")


def _reference(corpus: str) -> str:
    return f"speechrnn.data.corpora.{corpus}:prepare"
