"""Write a model for other programs: ONNX, LiteRT, or a SavedModel."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.export.targets import TARGETS, of_ending

_EPILOG = """\
The .onnx holds all of the model: features, network, symbols and model card. `speechrnn transcribe --model MODEL.onnx`
runs it without TensorFlow, and so does any program with ONNX Runtime: signal float32 (batch, samples) and length int32
(batch,) go in, logits float32 (batch, frames, symbols) and frames int32 (batch,) come out; of a classifier
probabilities, of a forecaster forecast float32 (batch, horizon, channels, quantiles).
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    group = Group("speechrnn.export.options:ExportOptions", "export")
    return Verb("export", export, {"options": (group,)}, _EPILOG, {"--to": "now called --format."})


def export(
    *,
    model: Annotated[str, "MODEL"],
    options: Mapping[str, Any],
    format: Literal[tuple(TARGETS)] | None = None,  # type: ignore[valid-type]
    out: Annotated[str | None, "FILE"] = None,
) -> int:
    """Write a model for other programs: ONNX, LiteRT, or a SavedModel.

    Args:
        model: A .keras model of any kind.
        options: Options of the export.
        format: Format of the results; by default what the ending of --out says, and ONNX without --out.
        out: a file or folder; by default the model's name with another ending.
    """
    to = format or ("onnx" if out is None else of_ending(out))
    if to is None:
        endings = ", ".join(target.ending for target in TARGETS.values())
        raise UsageError(f"the ending of --out must be one of {endings}, or --format must say the format.")
    if not os.path.exists(model):
        raise terminal.missing_model(model)
    terminal.start_tensorflow("speechrnn export")
    from speechrnn.export.writing import export as write

    print(write(model, out, to=to, **options))
    return 0
