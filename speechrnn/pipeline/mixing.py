"""Mixup: each row of a batch with a little of another, and its target likewise.

Reference:
    Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from speechrnn.pipeline.loading import Loaded


def mixed(batch: Loaded, alpha: float, classes: int, rng: np.random.Generator) -> Loaded:
    """The rows of a batch, each mixed with another one.

    Args:
        batch: Padded rows with a class each, or with shares of the classes.
        alpha: The shares are drawn from a Beta distribution with both parameters `alpha`; the row itself always has
            the larger one.
        classes: Number of classes.
        rng: Random numbers.

    Returns:
        A batch whose target is float32 `(batch, classes)`. Rows at weight 0 stay as they are, and are mixed into none.
    """
    target = batch.target if batch.target.ndim == 2 else np.eye(classes, dtype=np.float32)[batch.target]
    real = np.flatnonzero(batch.weight)
    other = np.arange(len(target))
    other[real] = rng.permutation(real)
    share = rng.beta(alpha, alpha, len(target)).astype(np.float32)
    share = np.maximum(share, 1 - share)

    def mix(rows: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (rows.ndim - 1))
        return weight * rows + (1 - weight) * rows[other]

    lengths = np.maximum(batch.lengths, batch.lengths[other])
    return dataclasses.replace(batch, values=mix(batch.values), lengths=lengths, target=mix(target))
