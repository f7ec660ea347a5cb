"""Train a recogniser, a classifier or a forecaster on a manifest."""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any

from speechrnn import files
from speechrnn.cli import series, terminal
from speechrnn.cli.declared import declaration
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults

if TYPE_CHECKING:
    from speechrnn.models.bundle import Bundle

_RUN = "speechrnn.training.run:train"
_AUGMENTATION = "speechrnn.features.augment:Augmentation"
_FEATURES = "speechrnn.features.layers:LogMel"
_NETWORKS = {
    "transcribe": "speechrnn.tasks.recognition.network:recurrent_ctc",
    "classify": "speechrnn.tasks.classification.network:recurrent_classifier",
    "forecast": "speechrnn.tasks.forecasting.network:recurrent_forecaster",
}
"""Where the options of each task's network are declared; those that two have under one name are given once."""
_OPTIONS = {
    "transcribe": "speechrnn.tasks.recognition.options:RecognizerTraining",
    "classify": "speechrnn.tasks.classification.options:ClassifierTraining",
    "forecast": "speechrnn.tasks.forecasting.options:ForecasterTraining",
}
"""Where the training options of each task are declared."""
_BUILDING = {
    "transcribe": "speechrnn.tasks.recognition.building",
    "classify": "speechrnn.tasks.classification.building",
    "forecast": "speechrnn.tasks.forecasting.building",
}
"""Where the new model of each task is built."""
_GROUPS = {
    "transcribe": ("network", "network"),
    "classify": ("network of a classifier", "classifier"),
    "forecast": ("network of a forecaster", "forecaster"),
}
"""Their headings in the help text, and what tells their options from others of the same name."""
_FOLLOWS = ("num_features", "vocabulary_size", "num_classes", "channels", "context", "horizon", "quantiles", "name")
"""Options of networks that follow from features, examples and what is asked for."""

_EPILOG = """\
The best model goes to --out. Beside it a folder with the ending .training holds the log, the options, the last model,
and what --resume needs to go on after a kill. Ctrl-C leaves a usable model and exits with 130.

With --task classify the examples need a `label` (a class each), `labels` (classes in time, learnt frame by frame) or
`tags` in `extra` (several classes at once). Rate, channels and classes are those of the manifest; options of the
network that are not given follow from the data. With --task forecast the examples are series, or parts of them
(`prepare series`); --context and --horizon are needed. An option of the network counts for every task whose network has
it; one that is not given is what that network declares.
"""


def parser(task: str = "transcribe") -> Parser:
    """The verb's options: the run's own, then those of each part, as the parts declare them."""
    made = Parser(
        prog="speechrnn train",
        usage="speechrnn train MANIFEST [MANIFEST ...] --out MODEL.keras [--task TASK] [--valid MANIFEST] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument(
        "manifests", nargs="+", metavar="MANIFEST", help=".jsonl manifests with texts or labels, learnt as one"
    )
    made.add_argument("--out", required=True, metavar="MODEL", help="where the best model goes; ends in .keras")
    made.add_argument(
        "--valid", nargs="+", default=[], metavar="MANIFEST", help="other speakers, to choose the best epoch by"
    )
    made.add_argument(
        "--task", choices=tuple(_NETWORKS), default="transcribe", metavar="{transcribe,classify,forecast}",
        help="what a new model learns (default: transcribe)",
    )  # fmt: skip
    series.add(made)
    made.add_argument("--model", metavar="MODEL", help="train this model further, instead of a new one")
    made.add_argument(
        "--new-vocabulary",
        action="store_true",
        help="with --model: write the characters of these texts, or --subwords of them; what it has learnt of speech "
        "is kept",
    )
    made.add_argument("--augment", action="store_true", help="vary the examples as suits a small corpus of read speech")
    made.add_argument(
        "--subwords",
        type=int,
        metavar="N",
        help="a new model writes N subwords, learnt from the texts, instead of characters; needs sentencepiece",
    )
    made.add_argument(
        "--sample-rate", type=float, metavar="X", help="of a new model (default: 16000, or that of what is classified)"
    )
    of_run = ("model", "examples", "out", "valid", "options", "augment", "faults", "callbacks", "verbose")
    add_options(made, _RUN, title="run", prefix="run", skip=of_run)
    add_options(made, _OPTIONS[task], title="training", prefix="training")
    add_options(made, _AUGMENTATION, title="augmentation", prefix="augmentation")
    add_options(made, _FEATURES, title="features", prefix="features", skip=("sample_rate",))
    skip = set(_FOLLOWS)
    for task, reference in _NETWORKS.items():
        title, prefix = _GROUPS[task]
        add_options(made, reference, title=title, prefix=prefix, skip=tuple(skip))
        skip |= {option.name for option in declaration(reference).options}
    return made


def run(words: list[str]) -> int:
    """Train; 0 if every example was used, 1 if some were dropped, 130 after Ctrl-C."""
    made = parser(_task(words))
    arguments = made.parse_args(words)
    network = _network(made, arguments)
    series.check(made, arguments)
    of_model = {**collect(arguments, _FEATURES), **network, **series.given(arguments)}
    for name in ("subwords", "new_vocabulary"):
        if getattr(arguments, name) and arguments.task != "transcribe":
            made.error(f"--{name.replace('_', '-')}: not for --task {arguments.task}.")
    if arguments.task == "forecast" and collect(arguments, _FEATURES):
        names = ", ".join("--" + name.replace("_", "-") for name in collect(arguments, _FEATURES))
        made.error(f"{names}: not for --task forecast, which reads the samples.")
    if arguments.new_vocabulary and not arguments.model:
        made.error("--new-vocabulary: only with --model; a new model writes what the texts have.")
    if arguments.subwords is not None and not arguments.new_vocabulary:
        of_model["subwords"] = arguments.subwords
    if arguments.model and of_model:
        chosen = ", ".join(sorted(of_model))
        made.error(f"--model brings its own features, network and vocabulary, so {chosen} cannot be chosen.")
    how = collect(arguments, _RUN)
    if not how.get("resume"):
        files.refuse_existing(arguments.out, overwrite=how.get("overwrite", False))
    examples = [example for path in arguments.manifests for example in manifest.read(path)]
    valid = [example for path in arguments.valid for example in manifest.read(path)]
    return _train(arguments, examples, valid, network, how)


def _task(words: list[str]) -> str:
    """The task that a command line names; what is wrong with it, the parser says."""
    found = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    found.add_argument("--task", choices=tuple(_NETWORKS), default="transcribe")
    try:
        return str(found.parse_known_args(words)[0].task)
    except argparse.ArgumentError:
        return "transcribe"


def _network(made: Parser, arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of the network that were given; one that the task's network lacks is an error."""
    given = {name: value for reference in _NETWORKS.values() for name, value in collect(arguments, reference).items()}
    known = {option.name for option in declaration(_NETWORKS[arguments.task]).options}
    if wrong := sorted(set(given) - known):
        names = ", ".join("--" + name.replace("_", "-") for name in wrong)
        made.error(f"{names}: not for --task {arguments.task}.")
    return given


def _train(
    arguments: argparse.Namespace,
    examples: list[Example],
    valid: list[Example],
    network: dict[str, Any],
    how: dict[str, Any],
) -> int:
    terminal.start_tensorflow("speechrnn train")
    import keras

    from speechrnn.features import Augmentation
    from speechrnn.training import train

    options = _class(_OPTIONS[arguments.task])(**collect(arguments, _OPTIONS[arguments.task]))
    changes = collect(arguments, _AUGMENTATION)
    augmentation = Augmentation.speech(**changes) if arguments.augment else Augmentation(**changes) if changes else None
    keras.utils.set_random_seed(options.seed)
    model = _model(arguments, examples, network)
    faults = Faults()
    done = train(
        model,
        examples,
        valid=valid or None,
        options=options,
        augment=augmentation,
        out=arguments.out,
        faults=faults,
        **how,
    )
    for fault in faults:
        terminal.name_fault(fault)
    score = _score([row for row in done.history if row["epoch"] == done.best_epoch])
    print(f"{done.path}: epoch {done.best_epoch} of {len(done.history)}{score}, {done.seconds:.0f} s")
    code = terminal.verdict(faults, len(examples) + len(valid), noun="examples", verb="were dropped")
    return 130 if done.interrupted else code


def _class(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _score(rows: list[dict[str, float]]) -> str:
    """Words about the validation of an epoch, if there was one."""
    row = rows[-1] if rows else {}
    if "val_wer" in row:
        return f", validation WER {100 * row['val_wer']:.1f} %"
    if "val_accuracy" in row:
        return f", validation accuracy {100 * row['val_accuracy']:.1f} %, mean F1 {row['val_macro_f1']:.3f}"
    if "val_mae" in row:
        return f", validation MAE {row['val_mae']:.3f} and MSE {row['val_mse']:.3f} in standard deviations"
    return ""


def _model(arguments: argparse.Namespace, examples: list[Example], network: dict[str, Any]) -> Bundle:
    """The model to begin with."""
    if arguments.model:
        from speechrnn.tasks.recognition import model as recognizer
        from speechrnn.tasks.recognition.building import vocabulary_of

        if not arguments.new_vocabulary:
            return recognizer.load_bundle(arguments.model)
        vocabulary = vocabulary_of(examples, subwords=arguments.subwords)
        return recognizer.load(arguments.model).with_vocabulary(vocabulary)
    build = importlib.import_module(_BUILDING[arguments.task]).for_manifest
    if arguments.task == "forecast":
        return build(examples, **series.given(arguments), **network)
    own = {"subwords": arguments.subwords} if arguments.task == "transcribe" else {}
    features = collect(arguments, _FEATURES)
    return build(examples, sample_rate=arguments.sample_rate, features=features, **own, **network)
