"""Several processes, on one machine or on many, that train one model: each computes its share of every batch.

Keras's `fit` runs in each of them as it does alone. What is summed over all, by TensorFlow's collectives, are the two
sums of the loss's mean and the gradients; so every process makes the update that one process makes of the whole batch.

`fit` under `MultiWorkerMirroredStrategy`, or `MirroredStrategy`, is not used. Under the former it fails (Keras 3.15,
keras-team/keras#20585, see docs/many_machines.md). Both add up the gradients of means, so rows of a part with more
filling count more, and clip each part's gradient before they are summed.
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
    """The processes that train together, of which this is one.

    It has to be made before anything else is asked of TensorFlow: models, datasets, tensors.

    Args:
        addresses: `HOST:PORT` of every process, the same list in each of them. The first one validates and writes.
        index: Which of them this is, counted from 0.

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
        """Which part of every batch is this process's, and how many parts there are."""
        return self.index, len(self.addresses)

    @property
    def first(self) -> bool:
        """Whether this process validates and writes."""
        return self.index == 0

    def summing(self) -> AbstractContextManager[None]:
        """A block in which losses and optimizers are those of all processes together."""
        return summed_by(self.total)

    def total(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Sums over all processes, to be called by each of them with tensors of equal shapes and dtypes."""

        def within(*given: tf.Tensor) -> Any:
            context = tf.distribute.get_replica_context()
            # Copies: they are on a device, as the collectives want it, which tensors of a graph need not be.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(one) for one in given])

        return self._strategy.run(within, args=tuple(tensors))

    def of_first(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The first process's values, in every process."""
        given = [np.asarray(value) for value in values]
        # Sums of the first one's and of zeros, in float64, where every float32 and the states of generators are exact.
        own = [value.astype(np.float64) for value in given]
        sums = self._total([tf.constant(v if self.first else np.zeros_like(v)) for v in own])
        return [found.numpy().astype(value.dtype) for found, value in zip(sums, given, strict=True)]

    def equalize(self, variables: Sequence[Any]) -> None:
        """Give variables the first process's values."""
        for variable, value in zip(variables, self.of_first([v.numpy() for v in variables]), strict=True):
            variable.assign(value)


def this_host(given: int | None) -> int:
    """Which process this is, counted from 0: what is given, or what the scheduler that started it says.

    Raises:
        ValueError: Neither is known.
    """
    for value in (given, os.environ.get("SLURM_PROCID"), os.environ.get("JOB_COMPLETION_INDEX")):
        if value is not None:
            return int(value)
    raise ValueError("--hosts needs --rank I, which of them this process is, counted from 0.")
