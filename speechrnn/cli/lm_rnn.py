"""Recurrent language models on the command line: how they are trained, recognised, and let write."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from speechrnn import text
from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Faults

if TYPE_CHECKING:
    from speechrnn.tasks.language.session import LanguageSession

_OPTIONS = "speechrnn.tasks.language.options:LanguageTraining"
_NETWORK = "speechrnn.tasks.language.network:recurrent_lm"


def add(parser: Parser) -> None:
    """What only `--kind rnn` takes."""
    group = parser.add_argument_group("recurrent model", "An LSTM or GRU over characters; needs TensorFlow.")
    group.add_argument("--valid", nargs="+", default=[], metavar="TEXT", help="other text, to choose the best epoch by")
    group.add_argument("--resume", action="store_true", help="go on from the state beside --out, if there is one")
    add_options(parser, _NETWORK, title="recurrent network", prefix="network", skip=("vocabulary_size", "name"))
    add_options(parser, _OPTIONS, title="training of a recurrent model", prefix="training")


def given(arguments: argparse.Namespace) -> list[str]:
    """Names of the options for `--kind rnn` that were given."""
    own = [name for name in ("valid", "resume") if getattr(arguments, name)]
    return [*own, *collect(arguments, _NETWORK), *collect(arguments, _OPTIONS)]


def learn(arguments: argparse.Namespace, sentences: list[str], valid: list[str]) -> int:
    """Train; 0 if every sentence was used, 1 if some were too long, 130 after Ctrl-C."""
    if not sentences:
        raise ValueError("A language model needs a text with at least one sentence. Received none.")
    terminal.start_tensorflow("speechrnn lm train --kind rnn")
    import keras

    from speechrnn.tasks.language.building import for_manifest
    from speechrnn.tasks.language.options import LanguageTraining
    from speechrnn.training import train

    options = LanguageTraining(**collect(arguments, _OPTIONS))
    keras.utils.set_random_seed(options.seed)
    vocabulary = text.Vocabulary.from_texts([*sentences, *valid])
    faults = Faults()
    done = train(
        for_manifest(sentences, vocabulary=vocabulary, **collect(arguments, _NETWORK)),
        sentences,
        out=arguments.out,
        valid=valid,
        options=options,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        faults=faults,
    )
    kept = [row for row in done.history if row["epoch"] == done.best_epoch]
    score = f", validation perplexity {kept[-1]['val_perplexity']:.1f} per word" if kept and valid else ""
    learnt = len(sentences) + len(valid) - len(faults)
    print(f"{done.path}: epoch {done.best_epoch} of {len(done.history)}{score}; from {learnt:,} sentences")
    if len(faults):
        terminal.note(
            f"{len(faults):,} of {len(sentences) + len(valid):,} sentences were dropped: too long (--max-length)."
        )
    return 130 if done.interrupted else 1 if len(faults) else 0


def is_recurrent(path: str) -> bool:
    """Whether a file is to be read as a recurrent model, and not as an ARPA file."""
    from speechrnn.models import loading

    return path.endswith(".onnx") or loading.is_keras(path)


def load(path: str) -> LanguageSession:
    """A session of a language model in a `.keras` or `.onnx` file."""
    from speechrnn.models.loading import load_session

    terminal.start_for(path)
    return load_session(path, kind="language model")


def generate(words: list[str]) -> int:
    """Write text on standard output."""
    made = Parser(
        prog="speechrnn lm generate",
        usage="speechrnn lm generate LM [--length N] [--temperature X] [--seed N] [--prefix TEXT]",
        description="Let a recurrent language model write; each sentence begins a line.",
    )
    made.add_argument("lm", metavar="LM", help="a .keras or .onnx language model")
    made.add_argument("--length", type=int, default=200, metavar="N", help="characters to write (default: 200)")
    made.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="1 draws as likely as the model says, less is safer, 0 takes the likeliest (default: 0.8)",
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="the same one writes the same (default: 0)")
    made.add_argument("--prefix", default="", metavar="TEXT", help="how the first sentence begins")
    arguments = made.parse_args(words)
    options: dict[str, Any] = {"temperature": arguments.temperature, "seed": arguments.seed}
    print(load(arguments.lm).generate(arguments.prefix, length=arguments.length, **options).text)
    return 0
