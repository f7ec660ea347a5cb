"""Export forecasters to ONNX graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx.graph import Graph


class ForecasterExporter(SignalExporter):
    """The output is `forecast` float32 `(batch, horizon, channels, quantiles)`, in the series' units."""

    stored_attributes = ("channels", "context", "horizon", "quantiles", "known", "calendar")

    def write_outputs(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.write_outputs`."""
        model = self.model
        count = len(model.quantiles)
        found, _ = graph.add_many("TopK", outputs, np.array([count]), outputs=2, axis=-1, largest=0, sorted=1)
        if model.features.normalize is not None:
            mean = np.asarray(model.features.mean, np.float32)[: model.channels]
            found = graph.add("Add", graph.add("Mul", found, model.scale[:, None]), mean[:, None])
        graph.output(found, "forecast", "float32", ("batch", model.horizon, model.channels, count))

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        return {**super().kind_metadata(), "scale": self.model.scale.tolist()}
