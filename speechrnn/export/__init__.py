"""Models written for other programs: ONNX, LiteRT and SavedModel."""
