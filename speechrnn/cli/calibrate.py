"""Calibrate the confidence of recognized words on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import decoding as decoding_options
from speechrnn.cli import terminal
from speechrnn.cli.verb import Verb
from speechrnn.faults import Fault, Faults

_EPILOG = """\
Writes the calibration as JSON, for `speechrnn transcribe --calibration FILE`, and prints the expected calibration error
before and after; the latter is measured on each half of the recordings after fitting on the other half. Use the same
decoding options as later with `transcribe`.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("calibrate", calibrate, {"decoding": decoding_options.groups()}, _EPILOG)


def calibrate(
    path: Annotated[str, "MANIFEST"],
    /,
    *,
    out: Annotated[str, "FILE"],
    decoding: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    overwrite: bool = False,
) -> int:
    """Calibrate the confidence of recognized words on validation data.

    Args:
        path: A .jsonl manifest with texts; not the test set.
        out: a file, as JSON.
        decoding: Options of the decoder.
        model: A .onnx or .keras recognizer, or the name of an included model; by default `english`.
    """
    import numpy as np

    from speechrnn.files import refuse_existing
    from speechrnn.metrics.calibration import Calibration, calibration_error
    from speechrnn.metrics.errors import score
    from speechrnn.tasks.recognition import transcription

    refuse_existing(out, overwrite=overwrite)
    faults = Faults()
    examples, total = terminal.examples_with_text(path, faults)
    session = terminal.load_model(model)
    decoder = decoding_options.build_decoder(decoding, session)
    confidences, correct, in_first_half = [], [], []
    with terminal.progress(len(examples), "utterances") as progress:
        outcomes = transcription.outcomes(session, examples, decoder=decoder, progress=progress)
        for number, (example, outcome) in enumerate(zip(examples, outcomes, strict=True)):
            if isinstance(outcome, Fault):
                faults.extend([outcome])
                continue
            scored = score(
                example.text or "", outcome.text, confidences=[word.confidence for word in outcome.words]
            ).judged
            confidences += [confidence for confidence, _ in scored]
            correct += [hit for _, hit in scored]
            in_first_half += [number % 2 == 0] * len(scored)
    terminal.print_faults(*faults)
    p, hits, first = np.array(confidences), np.array(correct, bool), np.array(in_first_half, bool)
    before = calibration_error(p, hits)
    after = calibration_error(_crosswise(p, hits, first), hits)
    Calibration.fit(p, hits).write(out, overwrite=overwrite, words=len(p), ece_before=before)
    print(f"expected calibration error {before:.4f}, calibrated {after:.4f}; {len(p):,} words, {hits.mean():.1%} right")
    return terminal.print_summary(faults, total, noun="utterances")


def _crosswise(p: Any, hits: Any, first: Any) -> Any:
    """Calibrate each half of the words by the other half."""
    from speechrnn.metrics.calibration import Calibration

    calibrated = p.copy()
    for half in (first, ~first):
        if half.any() and (~half).any():
            calibrated[half] = Calibration.fit(p[~half], hits[~half])(p[half])
    return calibrated
