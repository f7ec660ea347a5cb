"""Judge whether gradients are healthy, vanish or explode, by documented thresholds, and suggest remedies.

A gradient through a recurrent layer is multiplied by one Jacobian per step, so that over many steps its norm shrinks or
grows exponentially (Bengio et al. 1994; Hochreiter and Schmidhuber 1997; Pascanu et al. 2013). Then it contributes
almost nothing, or almost everything, to the gradient of the weights, which is a sum over all lags.

References:
    Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", IEEE Transactions
        on Neural Networks 5(2), 1994.
    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015.
    Tallec and Ollivier, "Can recurrent neural networks warp time?", ICLR 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LOST = 1e-3
"""A gradient is lost if its norm is below this share of the norm at lag 0. The sum over lags contains many nearer
steps, each up to a thousand times as large, and the noise of a batch of 16 rows is about a quarter of that sum; Adam,
which divides by the size of the sum, cannot restore a small part of it. Above the inverse a gradient explodes: one
distant step alone then decides the direction."""
CLIFF = 10.0
"""A gradient explodes if its norm is this many times the mean norm of the batches around it: Pascanu et al. clip at
half to ten times the average norm."""

_VANISHING = {
    "SimpleRNN": (
        "use an LSTM or a GRU, whose state is added to and not replaced (Hochreiter and Schmidhuber 1997)",
        "start the recurrent weights at the identity (Le et al. 2015)",
    ),
    "LSTM": ("start its gates open for as long as the lag (`speechrnn.layers.ChronoBias`; Tallec and Ollivier 2018)",),
    "GRU": ("start its gates open for as long as the lag (`speechrnn.layers.ChronoBias`; Tallec and Ollivier 2018)",),
}
_ALWAYS_VANISHING = (
    "add connections that skip time or layers (`residual=True`)",
    "shorten the way: stack or stride frames before the layer",
)
_EXPLODING = (
    "clip the gradient's norm (`clip_norm`; Pascanu et al. 2013)",
    "start with smaller or orthogonal recurrent weights",
    "cut the sequence into shorter segments (`speechrnn.training.truncated`)",
)
_DEEP = (
    "add residual connections and layer normalization between the layers",
    "look at the layers after it: one that saturates passes nothing on",
)


@dataclass(frozen=True)
class Verdict:
    """Whether the gradients of one layer are healthy, and what to try."""

    layer: str
    """Name of the layer."""
    state: Literal["healthy", "vanishing", "exploding"]
    """The verdict."""
    reason: str
    """The figures behind it."""
    remedies: tuple[str, ...] = ()
    """What to try, most promising first."""

    @property
    def healthy(self) -> bool:
        """Whether the gradients neither vanish nor explode."""
        return self.state == "healthy"

    def __str__(self) -> str:
        advice = f" Try: {'; '.join(self.remedies)}." if self.remedies else ""
        return f"{self.layer}: {self.state} ({self.reason}).{advice}"


def judge_flow(layer: str, kind: str, norms: np.ndarray, *, lag: int | None = None) -> Verdict:
    """Judge the norms of a gradient by time lag.

    Args:
        layer: Name of the layer.
        kind: Class of the recurrent layer, which decides the remedies.
        norms: float `(lags,)`, the norm at lag 0, 1, ...
        lag: How far back the layer has to learn from; the longest lag by default.

    Example:
    >>> judge_flow("a", "SimpleRNN", 0.9 ** np.arange(100)).reason
    'at lag 99 the gradient is 3e-05 of that at lag 0; below 0.001 from lag 66 on'
    """
    lag = len(norms) - 1 if lag is None else lag
    if not 0 <= lag < len(norms):
        raise ValueError(f"`lag` must be in [0, {len(norms) - 1}], the lags of the batch. Received: lag={lag}.")
    not_finite = np.flatnonzero(~np.isfinite(norms[: lag + 1]))
    if not_finite.size:
        return Verdict(layer, "exploding", f"the gradient is not finite at lag {not_finite[0]}", _EXPLODING)
    if norms[0] == 0:
        reason = "the gradient is 0 at lag 0 already: the loss does not depend on the layer"
        return Verdict(layer, "vanishing", reason, _DEEP)
    ratio = float(norms[lag] / norms[0])
    reason = f"at lag {lag} the gradient is {ratio:.1g} of that at lag 0"
    if ratio < LOST:
        first = int(np.flatnonzero(norms[: lag + 1] >= LOST * norms[0])[-1]) + 1
        remedies = (*_VANISHING.get(kind, ()), *_ALWAYS_VANISHING)
        return Verdict(layer, "vanishing", f"{reason}; below {LOST:g} from lag {first} on", remedies)
    if ratio > 1 / LOST:
        return Verdict(layer, "exploding", reason, _EXPLODING)
    return Verdict(layer, "healthy", reason)


def judge_norms(
    layer: str,
    means: Sequence[float],
    largest: Sequence[float],
    batches: Sequence[int],
    *,
    non_finite: int,
    share: float,
) -> Verdict:
    """Judge the gradient norms of a layer during training.

    Args:
        layer: Name of the layer.
        means: Mean norm of each interval, finite gradients only.
        largest: Largest norm of each interval.
        batches: Batches of each interval.
        non_finite: Batches whose gradient held NaN or infinity.
        share: Root mean square of the gradient per weight, relative to the median layer.
    """
    if non_finite:
        reason = f"{non_finite:,} of {sum(batches):,} gradients were not finite"
        return Verdict(layer, "exploding", reason, _EXPLODING)
    # Gradients of the first interval, of an untrained network, say little about the others.
    later = slice(1 if len(means) > 1 else 0, None)
    for mean, peak, count in zip(means[later], largest[later], batches[later], strict=True):
        # Compared within an interval, since norms fall as a network learns, and without the peak itself.
        others = (mean * count - peak) / (count - 1) if count > 1 else mean
        if peak > CLIFF * others > 0:
            reason = f"a gradient of {peak:.2g} is {peak / others:.0f} times the others of its interval"
            return Verdict(layer, "exploding", reason, _EXPLODING)
    if share < LOST:
        reason = f"its weights have {share:.1g} of the gradient that weights have elsewhere"
        return Verdict(layer, "vanishing", reason, _DEEP)
    return Verdict(layer, "healthy", f"usual norm {np.median(means[later]):.2g}, largest {max(largest[later]):.2g}")
