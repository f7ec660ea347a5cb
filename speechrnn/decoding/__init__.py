"""From logits to symbols; NumPy only, so that a server or a browser session needs no TensorFlow."""

from speechrnn.decoding.greedy import Path, greedy

__all__ = ["Path", "greedy"]
