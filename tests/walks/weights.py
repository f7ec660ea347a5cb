"""The weights of a model as a NumPy archive."""

import numpy as np

from speechrnn.files import replacing


def write(exporter, path, *, int8, streaming, overwrite):
    """Write the archive; see `speechrnn.export.targets.Target`."""
    if int8 or streaming:
        raise ValueError(f"`int8` and `streaming` are not for weights. Received: {int8=}, {streaming=}.")
    with replacing(path, overwrite=overwrite) as file:
        np.savez(file, **{weight.path: np.asarray(weight) for weight in exporter.model.weights})
