"""Layers and networks as ONNX graphs."""
