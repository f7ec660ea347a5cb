"""Registry of the verbs: one module per verb, and one verb per kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from speechrnn.models import kinds

if TYPE_CHECKING:
    from speechrnn.cli.verb import Verb

_USE, _DATA, _MAKE, _LANGUAGE, _REST = "use a model", "get data", "make a model", "language for recognizers", "more"

VERBS = {
    "stream": (_USE, "Transcribe speech live, while it is spoken."),
    "spot": (_USE, "Find keywords in recordings."),
    "anomalies": (_USE, "Find anomalies in records of signals."),
    "serve": (_USE, "Serve models over HTTP, WebSockets and Wyoming, with a page for the browser."),
    "align": (_USE, "Find the time of each word of a known text in a recording."),
    "merge": (_USE, "Join the parts that were made with --shard."),
    "download": (_DATA, "Download a published corpus."),
    "prepare": (_DATA, "Turn a corpus folder into manifests."),
    "check-manifest": (_DATA, "Check a manifest for everything that would disturb training."),
    "train": (_MAKE, "Train a model on a manifest."),
    "evaluate": (_MAKE, "Measure the errors of a model on a manifest."),
    "report": (_MAKE, "Write an HTML report about a recognizer: errors, worst utterances, confidence."),
    "calibrate": (_MAKE, "Calibrate the confidence of recognized words."),
    "export": (_MAKE, "Write a model for other programs, such as ONNX Runtime."),
    "doctor": (_MAKE, "Check a model or a manifest: what will be slow, what will be dropped."),
    "lm train": (_LANGUAGE, "Train a language model of n-grams."),
    "lm tune": (_LANGUAGE, "Find the weights of language models with the fewest errors."),
    "lm perplexity": (_LANGUAGE, "Measure how well a language model predicts a text."),
    "lexicon build": (_LANGUAGE, "Build a lexicon of words and their pronunciations."),
    "pronounce": (_LANGUAGE, "Print the phones of words, from a lexicon or a letters-to-phones model."),
    "lexicon pack": (_LANGUAGE, "Pack a lexicon and a language model into a recognizer."),
    "completion": (_REST, "Print the shell completion for bash, zsh or fish."),
}
"""Heading and description of each verb in the help. A verb's module has its name, with `_` for `-` and for a space. The
verbs of the kinds of models come first; they are in `speechrnn.models.kinds`."""


def listed() -> dict[str, dict[str, str]]:
    """Descriptions of the verbs by heading."""
    by_heading = {_USE: {kind.method: str(kinds.resolve(kind.command).summary) for kind in kinds.kinds()}}
    for name, (heading, sentence) in VERBS.items():
        by_heading.setdefault(heading, {})[name] = sentence
    return by_heading


def names() -> list[str]:
    """Names of all verbs; some have two words."""
    return [name for verbs in listed().values() for name in verbs]


def verb(name: str, words: Sequence[str]) -> Verb:
    """Create a verb, with the options that depend on the rest of the command line."""
    for kind in kinds.kinds():
        if kind.method == name:
            from speechrnn.cli import answers

            return answers.verb(kind)
    return import_module(f"speechrnn.cli.{name.replace('-', '_').replace(' ', '_')}").verb(words)
