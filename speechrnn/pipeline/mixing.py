"""Mixup: mixtures of pairs of rows and of their targets.

Reference:
    Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from speechrnn.pipeline.loading import Loaded


def mix_rows(batch: Loaded, alpha: float, classes: int, rng: np.random.Generator) -> Loaded:
    """Mix each row of a batch with another one.

    Args:
        batch: Padded rows with a class each, or with shares of the classes.
        alpha: The shares are drawn from a Beta distribution with both parameters `alpha`; each row itself gets the
            larger share.
        classes: Number of classes.
        rng: Random generator.

    Returns:
        A batch whose target is float32 `(batch, classes)`. Rows with weight 0 are neither changed nor mixed into
        others.
    """
    target = batch.target if batch.target.ndim == 2 else np.eye(classes, dtype=np.float32)[batch.target]
    weighted = np.flatnonzero(batch.weight)
    other = np.arange(len(target))
    other[weighted] = rng.permutation(weighted)
    share = rng.beta(alpha, alpha, len(target)).astype(np.float32)
    share = np.maximum(share, 1 - share)

    def mix(rows: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (rows.ndim - 1))
        return weight * rows + (1 - weight) * rows[other]

    lengths = np.maximum(batch.lengths, batch.lengths[other])
    return dataclasses.replace(batch, values=mix(batch.values), lengths=lengths, target=mix(target))
