"""Export recognizers to ONNX graphs, of whole signals or of one step for streams."""

from __future__ import annotations

from typing import Any

import keras

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx import steps
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.tasks.recognition.model_types import has_encoder, is_transducer
from speechrnn.tasks.sequence_to_sequence.export import write_step


class RecognizerExporter(SignalExporter):
    """Exports CTC recognizers.

    Outputs are `logits` float32 `(batch, frames, vocabulary)` and their valid `frames` int32 `(batch,)`.
    """

    streams = True
    stored_attributes = ("vocabulary",)

    def write_outputs(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.write_outputs`."""
        graph.output(outputs, "logits", "float32", ("batch", "frames", self.model.network.output_shape[-1]))
        graph.output(self.valid_frames(graph, frames), "frames", "int32", ("batch",))

    def step(self) -> tuple[Graph, dict[str, Any]]:
        """See `Exporter.step` and `speechrnn.export.onnx.steps`."""
        graph, step = steps.step_graph(self.model)
        return graph, {"kind": f"streaming {self.model.kind}", "states": step.states, "look_ahead": step.delay}


class TransducerExporter(RecognizerExporter):
    """Exports transducers: the encoder like `RecognizerExporter`, with `logits` float32 `(batch, frames, joint)`.

    Two models are attached, see `speechrnn.runtime.onnxfile.attachments`. `predictor` takes `previous` int32 `(batch,
    1)` and the states that the metadata name, which start as zeros, and returns `predicted` float32 `(batch, 1, joint)`
    and the next states, named `next_` and the state's name. `joiner` takes `encoded` and `predicted` float32 `(batch,
    joint)` and returns `joined` float32 `(batch, vocabulary)`.
    """

    takes_signals = streams = False  # files of the other formats contain only one function

    def attached_graphs(self) -> dict[str, Graph]:
        """See `Exporter.attached_graphs`."""
        model, joint = self.model, self.model.network.output_shape[-1]
        predictor, joiner = Graph("predictor"), Graph("joiner")
        shapes = {"predicted": ("batch", 1, joint)}
        steps.write_steps(predictor, model.predictor_steps, {"previous": ("batch", 1)}, shapes)
        joiner_inputs = [joiner.input(name, "float32", ("batch", joint)) for name in ("encoded", "predicted")]
        inputs = keras.Input((joint,)), keras.Input((joint,))
        (joined,) = write_network(joiner, keras.Model(inputs, model.joiner.call(*inputs)), joiner_inputs)
        joiner.output(joined, "joined", "float32", ("batch", len(model.vocabulary)))
        return {"predictor": predictor, "joiner": joiner}

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        model = self.model
        shapes = {name: [1, *shape[1:]] for name, shape in model.predictor_steps.states.items()}
        return {
            **super().kind_metadata(),
            "joint": model.network.output_shape[-1],
            "predictor": shapes,
            "ctc": model.with_ctc,
        }


class AttentionExporter(RecognizerExporter):
    """Exports recognizers with attention: the encoder like `TransducerExporter`, and three other models.

    They are attached. `ctc` takes `encoded` float32 `(frames, joint)` and returns CTC `logits`. `begin` takes
    `encoded` `(batch, frames, joint)` and `length` int32 `(batch,)` and returns `values`, `keys` and `first_output`;
    `step` is a step of the decoder, see `speechrnn.tasks.sequence_to_sequence.export`.
    """

    takes_signals = streams = False  # files of the other formats contain only one function

    def step(self) -> tuple[Graph, dict[str, Any]]:
        """See `Exporter.step`.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "A recognizer with attention reads the whole recording before its first symbol, and cannot stream. "
            "Train with --criterion ctc or transducer to stream."
        )

    def attached_graphs(self) -> dict[str, Graph]:
        """See `Exporter.attached_graphs`."""
        model, joint, size = self.model, self.model.network.output_shape[-1], len(self.model.vocabulary)
        ctc, begin, step = Graph("ctc"), Graph("begin"), Graph("step")
        encoded = keras.Input((joint,))
        (logits,) = write_network(
            ctc, keras.Model(encoded, model.ctc(encoded)), [ctc.input("encoded", "float32", ("frames", joint))]
        )
        ctc.output(logits, "logits", "float32", ("frames", size))
        begin_network, step_network = model.decoder.networks(joint)
        begin_inputs = [
            begin.input("encoded", "float32", ("batch", "frames", joint)),
            begin.input("length", "int32", ("batch",)),
        ]
        shapes = {
            "values": ("frames", joint),
            "keys": ("frames", model.decoder.attention),
            "first_output": (model.decoder.units,),
        }
        for tensor, (name, shape) in zip(
            write_network(begin, begin_network, begin_inputs), shapes.items(), strict=True
        ):
            begin.output(tensor, name, "float32", ("batch", *shape))
        write_step(step, model.decoder, step_network)
        return {"ctc": ctc, "begin": begin, "step": step}

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        states = list(self.model.decoder.state_names)
        return {**super().kind_metadata(), "joint": self.model.network.output_shape[-1], "decoder": states}


def exporter(model: Any) -> RecognizerExporter:
    """The exporter of a recognizer."""
    if not has_encoder(model):
        return RecognizerExporter(model)
    return (TransducerExporter if is_transducer(model) else AttentionExporter)(model)
