"""The recurrent acoustic network for CTC, and copies of trained ones with other outputs or more layers."""

from collections.abc import Sequence

import keras
import numpy as np

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.layers.subsampling import StackFrames
from speechrnn.tasks.recognition.options import AcousticNetwork


@options_as_keywords(AcousticNetwork, "cell")
def recurrent_ctc(  # noqa: D417 - the decorator adds the options
    options: AcousticNetwork,
    *,
    num_features: int,
    vocabulary_size: int,
    name: str = "recurrent_ctc",
) -> keras.Model:
    """Build a recurrent acoustic network for CTC.

    Optional subsampling (strided convolutions, then frame stacking), then recurrent layers, each with layer
    normalization before it and a residual connection around it, then a linear layer to the vocabulary. The content of
    the right padding never changes a valid frame.

    Args:
        num_features: Features per frame.
        vocabulary_size: Number of outputs, including the blank: `len(vocabulary)`.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, ceil(frames / stride), vocabulary_size)` logits, where `stride = 2**convolutions * stack`.
        `speechrnn.layers.frames.stride(model)` returns the stride.

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
    """A copy of an acoustic network and its weights, with other outputs.

    Args:
        network: A network as `recurrent_ctc` builds it.
        kept: For each output of the copy, the output of `network` whose weights are copied, or -1 for new weights.

    Raises:
        ValueError: The network has no dense layer named "logits", or `kept` names an output that it does not have.
    """
    old_layer = next((layer for layer in network.layers if layer.name == "logits"), None)
    if not isinstance(old_layer, keras.layers.Dense):
        raise ValueError(
            'The network must end in a dense layer named "logits", as `recurrent_ctc` makes it. '
            f"Received: a network whose layers are {', '.join(layer.name for layer in network.layers)}."
        )
    if not kept or max(kept) >= old_layer.units:
        raise ValueError(f"`kept` must name outputs below {old_layer.units}, at least one. Received: {list(kept)}.")

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return layer.__class__.from_config({**config, "units": len(kept)} if layer is old_layer else config)

    result = keras.models.clone_model(network, clone_function=copy)
    for old, new in zip(network.layers, result.layers, strict=True):
        if old is not old_layer:
            new.set_weights(old.get_weights())
    new_layer = result.get_layer("logits")
    indices = np.asarray(kept)
    for old, new in zip(old_layer.weights, new_layer.weights, strict=True):
        new.assign(np.where(indices >= 0, np.asarray(old)[..., indices], np.asarray(new)))
    return result


def init_from_shallower(network: keras.Model, learned: keras.Model) -> None:
    """Initialize a network with the weights of a shallower one, such that it computes the same until it is trained.

    Weights are copied between layers of the same name. In recurrent layers that only `network` has, the candidate's
    weights are zero: within residual connections they add nothing at first, but learn from the first step on.

    Args:
        network: A network as `recurrent_ctc` builds it, with more `layers`; its weights are set.
        learned: A trained network as `recurrent_ctc` builds it with otherwise the same options.

    Raises:
        ValueError: Options other than `layers` differ, or there are no residual connections.

    Reference:
        Chen, Goodfellow and Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016.
    """
    old_recurrent, new_recurrent = (blocks.recurrent_layers(model) for model in (learned, network))
    others = {layer.name: layer for layer in learned.layers if layer.weights and layer not in old_recurrent}
    shared = [(layer, others[layer.name]) for layer in network.layers if layer.name in others]
    for layer, source in [*zip(new_recurrent, old_recurrent, strict=False), *shared]:
        layer.set_weights(source.get_weights())
    for layer in new_recurrent[len(old_recurrent) :]:
        blocks.zero_candidates(layer)
    probe = np.random.default_rng(0).normal(size=(1, 64, network.inputs[0].shape[-1])).astype("float32")
    actual, expected = (np.asarray(model([probe, np.array([64], "int32")])) for model in (network, learned))
    if actual.shape != expected.shape or not np.allclose(actual, expected, atol=1e-4):
        raise ValueError(
            "Only a network that differs in `layers` alone, with residual connections, can take over what another has "
            f"learned. Received: {network.count_params():,} and {learned.count_params():,} weights that answer unlike."
        )
