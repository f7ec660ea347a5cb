"""Export models to other formats: ONNX, LiteRT and SavedModel."""
