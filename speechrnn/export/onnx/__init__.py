"""Convert layers and networks to ONNX graphs.

`writes` registers a function that writes your own layer as ONNX nodes.
"""

from speechrnn.export.onnx.registry import Tensor, writes

__all__ = ["Tensor", "writes"]
