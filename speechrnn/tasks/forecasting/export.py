"""Forecasters as ONNX graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx.graph import Graph


class ForecasterExporter(SignalExporter):
    """The output is `forecast` float32 `(batch, horizon, channels, quantiles)`, in the series' units."""

    def give(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.give`."""
        model = self.model
        count = len(model.quantiles)
        found, _ = graph.add_many("TopK", outputs, np.array([count]), outputs=2, axis=-1, largest=0, sorted=1)
        if model.features.normalize is not None:
            mean = np.asarray(model.features.mean, np.float32)[: model.channels]
            found = graph.add("Add", graph.add("Mul", found, model.scale[:, None]), mean[:, None])
        graph.output(found, "forecast", "float32", ("batch", model.horizon, model.channels, count))

    def about(self) -> dict[str, Any]:
        """See `Exporter.about`."""
        model = self.model
        return {
            "channels": model.channels,
            "context": model.context,
            "horizon": model.horizon,
            "quantiles": list(model.quantiles),
            "scale": model.scale.tolist(),
            **{name: list(getattr(model, name)) for name in ("known", "calendar") if getattr(model, name)},
        }
