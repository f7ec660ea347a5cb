"""Layers and networks as ONNX graphs.

`writes` registers how a layer of one's own becomes ONNX nodes.
"""

from speechrnn.export.onnx.registry import Tensor, writes

__all__ = ["Tensor", "writes"]
