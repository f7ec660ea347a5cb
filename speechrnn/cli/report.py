"""Write an HTML report about a recognizer: errors, worst utterances, confidence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import decoding as decoding_options
from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb
from speechrnn.data import manifest
from speechrnn.faults import Faults

_SKIP = ("path", "name", "decoder", "calibration", "notes")

_EPILOG = """\
The report is one self-contained HTML file. It has word and character error rates with 95 % bootstrap intervals, the
worst utterances with their sound, spectrogram and the network's output, tables by speaker and by length, confusions, a
reliability diagram, the curves of the training run whose folder is next to the model, and the model's card. With
--compare, both models are scored on the same utterances, and the difference has an interval of its own (paired
bootstrap).

--compare, like --model, also takes the name of an included model, such as `english`.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    groups = {"page_options": [Group("speechrnn.report.measuring:measure", "report", _SKIP)]}
    return Verb("report", report, {**groups, "decoding": decoding_options.groups()}, _EPILOG)


def report(
    path: Annotated[str, "MANIFEST"],
    /,
    *,
    page_options: Mapping[str, Any],
    decoding: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    compare: Annotated[str | None, "MODEL"] = None,
    calibration: Annotated[str | None, "FILE"] = None,
    out: Annotated[str, "FILE"] = "report.html",
    overwrite: bool = False,
) -> int:
    """Write an HTML report about a recognizer, or a comparison of two: errors, worst utterances, confidence.

    Args:
        path: A .jsonl manifest with texts.
        page_options: Options of the page.
        decoding: Options of the decoder.
        model: A .onnx or .keras recognizer, or the name of an included model; by default `english`.
        compare: A second recognizer, decoded in the same way.
        calibration: It is that of --model; calibrated and raw confidences are shown.
        out: a file.
    """
    from speechrnn.files import refuse_existing, replacing
    from speechrnn.metrics import errors
    from speechrnn.models import loading
    from speechrnn.report import page

    refuse_existing(out, overwrite=overwrite)
    faults = Faults()
    examples = manifest.read(path, faults=faults)
    total = len(examples) + len(faults)
    calibrated = decoding_options.calibration(calibration)
    models = [loading.file_of(name) for name in (model, *([compare] if compare else []))]
    for path_of_model in models:  # checked before the first one is measured, which takes minutes
        if not os.path.isfile(path_of_model):
            raise FileNotFoundError(f"{path_of_model}: no such model file.")
    names = models if len({os.path.basename(name) for name in models}) < len(models) else [None, None]
    with terminal.progress(len(examples) * len(models), "utterances") as progress:
        about: dict[str, Any] = {"progress": progress, "calibration": calibrated, "faults": faults}
        measurements = [_measure(models[0], examples, decoding, name=names[0], **about, **page_options)]
        for second in models[1:]:
            measurements.append(_measure(second, examples, decoding, name=names[1], progress=progress, **page_options))
    terminal.print_faults(*faults)
    with replacing(out, overwrite=overwrite) as file:
        text = page(*measurements, test=os.path.basename(path))
        file.write(text.encode("utf-8", "replace"))
    for measurement in measurements:
        print(f"{measurement.name}: {measurement.report}")
    if len(measurements) == 2:
        difference = errors.compare(measurements[0].report, measurements[1].report).words
        low, high = (100 * bound for bound in difference.interval)
        print(f"difference {100 * difference.difference:+.2f} points of WER (95 % interval {low:+.2f} to {high:+.2f})")
    print(f"{out}: {len(text) / 1e6:.1f} MB")
    return terminal.print_summary(faults, total, noun="utterances")


def _measure(path: str, examples: Any, decoding: Mapping[str, Any], **options: Any) -> Any:
    from speechrnn.report import measure

    model = terminal.load_model(path)
    return measure(
        model,
        examples,
        path=path,
        decoder=decoding_options.build_decoder(decoding, model),
        notes={"decoding": ", ".join(f"{name} {value}" for name, value in decoding.items()) or "greedy"},
        **options,
    )
