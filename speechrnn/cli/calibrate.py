"""Find what the confidence of a recognised word is worth, on validation data."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser
from speechrnn.data import manifest
from speechrnn.faults import Fault, Faults
from speechrnn.tasks.recognition import transcription as transcribe

_EPILOG = """\
Writes the calibration as JSON, for `speechrnn transcribe --calibration FILE`, and prints the expected calibration error
before and after; the latter is measured on each half of the recordings with what the other half gave. Calibrate with
the decoding options that will be used.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn calibrate",
        usage="speechrnn calibrate MODEL MANIFEST --out FILE [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    terminal.add_recogniser(made)
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts; not the test set")
    made.add_argument("--out", required=True, metavar="FILE", help="the calibration, as JSON")
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    decoding.add(made)
    return made


def run(words: list[str]) -> int:
    """Calibrate; 0 if all recordings could be read, 1 otherwise."""
    arguments = parser().parse_args(words)
    from speechrnn.files import refuse_existing
    from speechrnn.metrics.calibration import Calibration, calibration_error
    from speechrnn.tasks.recognition.evaluation import score

    refuse_existing(arguments.out, overwrite=arguments.overwrite)
    faults = Faults()
    examples = [example for example in manifest.read(arguments.manifest, faults=faults) if example.text is not None]
    model = terminal.load_model(arguments.model)
    decoder = decoding.chosen(arguments, model.vocabulary)
    sure, right, half = [], [], []
    with terminal.progress(len(examples), "utterances") as progress:
        outcomes = transcribe.outcomes(model, examples, decoder=decoder, progress=progress)
        for number, (example, outcome) in enumerate(zip(examples, outcomes, strict=True)):
            if isinstance(outcome, Fault):
                faults.add(outcome.where, outcome.kind, outcome.message)
                continue
            judged = score(
                example.text or "", outcome.text, confidences=[word.confidence for word in outcome.words]
            ).judged
            sure += [confidence for confidence, _ in judged]
            right += [hit for _, hit in judged]
            half += [number % 2 == 0] * len(judged)
    for fault in faults:
        terminal.name_fault(fault)
    p, hits, first = np.array(sure), np.array(right, bool), np.array(half, bool)
    before = calibration_error(p, hits)
    after = calibration_error(_crosswise(p, hits, first), hits)
    Calibration.fit(p, hits).write(arguments.out, overwrite=arguments.overwrite, words=len(p), ece_before=before)
    print(f"expected calibration error {before:.4f}, calibrated {after:.4f}; {len(p):,} words, {hits.mean():.1%} right")
    return terminal.verdict(faults, len(examples) + len(faults), noun="utterances")


def _crosswise(p: Any, hits: Any, first: Any) -> Any:
    from speechrnn.metrics.calibration import Calibration

    found = p.copy()
    for half in (first, ~first):
        if half.any() and (~half).any():
            found[half] = Calibration.fit(p[~half], hits[~half])(p[half])
    return found
