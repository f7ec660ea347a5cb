"""Write a model for other programs: ONNX, LiteRT, or a SavedModel."""

from __future__ import annotations

import os

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect

_FUNCTION = "speechrnn.export.writing:export"

_EPILOG = """\
The .onnx holds all of the model: features, network, symbols and model card. `speechrnn transcribe --model MODEL.onnx`
runs it without TensorFlow, and so does any program with ONNX Runtime: signal float32 (batch, samples) and length int32
(batch,) go in, logits float32 (batch, frames, symbols) and frames int32 (batch,) come out; of a classifier
probabilities, of a forecaster forecast float32 (batch, horizon, channels, quantiles).
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn export",
        usage="speechrnn export MODEL.keras [--to FORMAT] [--int8] [--out FILE] [--overwrite]",
        description=__doc__,
        epilog=_EPILOG,
    )
    kinds = "recogniser, classifier or forecaster, or a recurrent language model"
    made.add_argument("model", metavar="MODEL", help=f"a .keras {kinds}")
    made.add_argument("--out", metavar="FILE", help="what to write (default: the model's name with another ending)")
    add_options(made, _FUNCTION, title="export", prefix="export", skip=("model", "out"))
    return made


def run(words: list[str]) -> int:
    """Export; prints the name of what was written."""
    arguments = parser().parse_args(words)
    if not os.path.exists(arguments.model):
        raise FileNotFoundError(f"{arguments.model}: no such model file.")
    terminal.start_tensorflow("speechrnn export")
    from speechrnn.export.writing import export

    print(export(arguments.model, arguments.out, **collect(arguments, _FUNCTION)))
    return 0
