"""Train one model in several processes, on one machine or on many: each computes its share of every batch.

Keras's `fit` runs in each process as in a single one. TensorFlow's collectives sum, over all processes, the gradients
and the numerator and denominator of the loss's mean; so each process makes the update of the whole batch.

`fit` under `MultiWorkerMirroredStrategy` or `MirroredStrategy` is not used. Under the former it fails (Keras 3.15,
keras-team/keras#20585, see docs/many_machines.md). Both sum the gradients of means, so that rows of a part with more
filler rows count more, and both clip each part's gradient before the sum.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from speechrnn.losses.reduction import summed_by

__all__ = ["Hosts"]


class Hosts:
    """The processes that train together, this one included.

    Create it before anything else uses TensorFlow: models, datasets, tensors.

    Args:
        addresses: `HOST:PORT` of every process, the same list in each of them. The first one validates and writes.
        index: Index of this process in the list, from 0.

    Raises:
        ValueError: The index or an address makes no sense, or this process sees several GPUs.
        RuntimeError: TensorFlow has been used already.
    """

    def __init__(self, addresses: Sequence[str], index: int) -> None:
        addresses = tuple(addresses)
        if not 0 <= index < len(addresses) or len(set(addresses)) < len(addresses):
            raise ValueError(
                f"`index` must be that of one of the `addresses`, which differ. Received: {index=}, {addresses=}."
            )
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"An address must be HOST:PORT. Received: {address!r}.")
        if len(tf.config.list_physical_devices("GPU")) > 1:
            raise ValueError(
                "A process that trains with others must see one GPU. Start one for each GPU, with "
                "CUDA_VISIBLE_DEVICES=0 and so on, or let `speechrnn train --devices N` do it."
            )
        self.addresses, self.index = addresses, index
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(addresses)}), task_type="worker", task_id=index, rpc_layer="grpc"
        )
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        self._total = tf.function(self.total, autograph=False)

    @property
    def share(self) -> tuple[int, int]:
        """Index of this process's part of every batch, and the number of parts."""
        return self.index, len(self.addresses)

    @property
    def first(self) -> bool:
        """Whether this process validates and writes."""
        return self.index == 0

    def summing(self) -> AbstractContextManager[None]:
        """A context in which losses and optimizers use the sums over all processes."""
        return summed_by(self.total)

    def total(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Sums over all processes; each must call it with tensors of the same shapes and dtypes."""

        def all_reduce(*tensors: tf.Tensor) -> Any:
            context = tf.distribute.get_replica_context()
            # Copies are on a device, as the collectives require; tensors of a graph may not be.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(tensor) for tensor in tensors])

        return self._strategy.run(all_reduce, args=tuple(tensors))

    def broadcast(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The first process's values, in every process."""
        arrays = [np.asarray(value) for value in values]
        # The others add zeros. In float64, which is exact for float32 and for the states of random generators.
        terms = [array.astype(np.float64) if self.first else np.zeros(array.shape) for array in arrays]
        sums = self._total([tf.constant(term) for term in terms])
        return [total.numpy().astype(array.dtype) for total, array in zip(sums, arrays, strict=True)]

    def equalize(self, variables: Sequence[Any]) -> None:
        """Set variables to the first process's values."""
        for variable, value in zip(variables, self.broadcast([v.numpy() for v in variables]), strict=True):
            variable.assign(value)


def host_rank(rank: int | None) -> int:
    """Index of this process, from 0: `rank`, or else the index that Slurm or Kubernetes gave it.

    Raises:
        ValueError: Neither is known.
    """
    for value in (rank, os.environ.get("SLURM_PROCID"), os.environ.get("JOB_COMPLETION_INDEX")):
        if value is not None:
            return int(value)
    raise ValueError("--hosts needs --rank I, which of them this process is, counted from 0.")
