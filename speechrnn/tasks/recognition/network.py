"""The recurrent acoustic network for CTC."""

from collections.abc import Sequence

import keras
import numpy as np

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.layers.subsampling import StackFrames
from speechrnn.tasks.recognition.options import AcousticNetwork


@options_as_keywords(AcousticNetwork, "cell")
def recurrent_ctc(  # noqa: D417 - `takes` adds the options
    options: AcousticNetwork,
    *,
    num_features: int,
    vocabulary_size: int,
    name: str = "recurrent_ctc",
) -> keras.Model:
    """Recurrent acoustic network for CTC.

    Optional subsampling (strided convolutions, then frame stacking), then recurrent layers, each behind layer
    normalization and within a residual connection, then one linear layer to the vocabulary. Right padding, whatever
    it holds, never changes a valid frame.

    Args:
        num_features: Features a frame.
        vocabulary_size: Number of outputs, the blank counted: `len(vocabulary)`.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, ceil(frames / stride), vocabulary_size)` logits, where `stride = 2**convolutions * stack`.
        `speechrnn.layers.frames.stride(model)` gives it back.

    Raises:
        ValueError: An argument is out of its range.
    """
    blocks.check(options.cell, vocabulary_size=vocabulary_size)
    dtype = options.dtype
    features = keras.Input((None, num_features), name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    x, length = ZeroPadding(dtype=dtype)(features, LengthMask()(frames, features)), frames
    if options.convolutions:
        x, length = blocks.spectral_convolutions(x, length, options.convolutions, options.filters, dtype)
    if options.stack > 1:
        x, length = StackFrames(options.stack, dtype=dtype)(x), (length + (options.stack - 1)) // options.stack
    mask = LengthMask()(length, x)
    x = blocks.recurrent_stack(x, mask, **options.recurrent(), look_ahead=options.look_ahead)
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([features, frames], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)


def with_outputs(network: keras.Model, kept: Sequence[int]) -> keras.Model:
    """A copy of an acoustic network, weights included, with other outputs.

    Args:
        network: As `recurrent_ctc` makes it.
        kept: For each output of the copy the output of `network` whose weights it takes over, or -1 for fresh ones.

    Raises:
        ValueError: The network has no dense layer named "logits", or `kept` names an output that it does not have.
    """
    before = next((layer for layer in network.layers if layer.name == "logits"), None)
    if not isinstance(before, keras.layers.Dense):
        raise ValueError(
            'The network must end in a dense layer named "logits", as `recurrent_ctc` makes it. '
            f"Received: a network whose layers are {', '.join(layer.name for layer in network.layers)}."
        )
    if not kept or max(kept) >= before.units:
        raise ValueError(f"`kept` must name outputs below {before.units}, at least one. Received: {list(kept)}.")

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return layer.__class__.from_config({**config, "units": len(kept)} if layer is before else config)

    made = keras.models.clone_model(network, clone_function=copied)
    for old, new in zip(network.layers, made.layers, strict=True):
        if old is not before:
            new.set_weights(old.get_weights())
    after = made.get_layer("logits")
    chosen = np.asarray(kept)
    for old, new in zip(before.weights, after.weights, strict=True):
        fresh, learned = np.asarray(new), np.asarray(old)
        new.assign(np.where(chosen >= 0, learned[..., chosen], fresh))
    return made


def take_over(network: keras.Model, learned: keras.Model) -> None:
    """Give a network what a shallower one has learned, so that it computes the same until it is trained.

    Layers of the same name take the weights over. Recurrent layers that only `network` has begin with candidates of
    zero, so that within residual connections they add nothing at first, yet learn from the first step on.

    Args:
        network: As `recurrent_ctc` makes it, with more `layers`; its weights are set.
        learned: As `recurrent_ctc` makes it with else the same options.

    Raises:
        ValueError: Another option than `layers` differs, or there are no residual connections.

    Reference:
        Chen, Goodfellow and Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016.
    """
    before, after = (blocks.recurrent_layers(model) for model in (learned, network))
    others = {layer.name: layer for layer in learned.layers if layer.weights and layer not in before}
    taken = [(layer, others[layer.name]) for layer in network.layers if layer.name in others]
    for layer, source in [*zip(after, before, strict=False), *taken]:
        layer.set_weights(source.get_weights())
    for layer in after[len(before) :]:
        blocks.silence(layer)
    probe = np.random.default_rng(0).normal(size=(1, 64, network.inputs[0].shape[-1])).astype("float32")
    now, then = (np.asarray(model([probe, np.array([64], "int32")])) for model in (network, learned))
    if now.shape != then.shape or not np.allclose(now, then, atol=1e-4):
        raise ValueError(
            "Only a network that differs in `layers` alone, with residual connections, can take over what another has "
            f"learned. Received: {network.count_params():,} and {learned.count_params():,} weights that answer unlike."
        )
