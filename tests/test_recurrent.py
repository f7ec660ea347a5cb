"""What the recurrent layers promise: Keras's numbers, weights and files, on a faster path that says which it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import layers
from speechrnn.layers import execution_path, scan

# NumPy 2 tells Keras, when it saves a variable, about a keyword that Keras does not use.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CELLS = ["LSTM", "GRU", "SimpleRNN"]
ROWS, STEPS, FEATURES, UNITS = 4, 30, 5, 6
LENGTHS = [30, 17, 1, 24]


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    """Chunks so short that a sequence has two, the last one not whole."""
    monkeypatch.setattr(scan, "CHUNK", 24)


@pytest.fixture
def x(rng):
    return rng.normal(size=(ROWS, STEPS, FEATURES)).astype("float32")


@pytest.fixture
def mask():
    return np.arange(STEPS) < np.array(LENGTHS)[:, None]


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_keras_exports_a_model_with_our_layer(cell, x, tmp_path):
    """Gradients go into the file as well, which TensorFlow warns of where it reads them."""
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, getattr(layers, cell)(UNITS)(inputs))
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=0, atol=1e-6)


def pair(cell, rng, *, bidirectional=False, **options):
    """A stock layer and ours with the same weights, none of them zero, and the same in every run."""
    keras.utils.set_random_seed(0)
    options.setdefault("return_sequences", True)
    found = []
    for library in (keras.layers, layers):
        layer = getattr(library, cell)(UNITS, **{"zero_output_for_mask": True, **options})
        found.append(keras.layers.Bidirectional(layer) if bidirectional else layer)
        found[-1].build((ROWS, STEPS, FEATURES))
    stock, ours = found
    stock.set_weights([w + 0.2 * rng.normal(size=w.shape) for w in stock.get_weights()])
    ours.set_weights(stock.get_weights())
    return stock, ours


def outputs_and_gradients(layer, x, *, states=(), **call):
    """Every output, and the gradients of a function of all of them in the input, initial state and weights."""
    watched = [tf.convert_to_tensor(x), *map(tf.convert_to_tensor, states)]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        found = tf.nest.flatten(layer(watched[0], **({"initial_state": watched[1:]} if states else {}), **call))
        loss = sum(tf.reduce_sum(tf.cos(y + i) * y) for i, y in enumerate(found))
    return found, tape.gradient(loss, [*watched, *layer.trainable_variables])


def assert_equal(ours, stock, relative=1e-5):
    for a, b in zip(ours, stock, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * float(np.abs(b).max()))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_all_gradients_are_the_stock_layers(cell, backwards, x, mask, rng):
    stock, ours = pair(cell, rng, go_backwards=backwards, return_state=True)
    states = [rng.normal(size=(ROWS, UNITS)).astype("float32") for _ in range(2 if cell == "LSTM" else 1)]
    expected, expected_gradients = outputs_and_gradients(stock, x, states=states, mask=mask)
    found, gradients = outputs_and_gradients(ours, x, states=states, mask=mask)
    assert_equal(found, expected)
    assert_equal(gradients, expected_gradients)


@pytest.mark.parametrize("cell", CELLS)
def test_bidirectional_is_the_stock_layers(cell, x, mask, rng):
    stock, ours = pair(cell, rng, bidirectional=True)
    expected, expected_gradients = outputs_and_gradients(stock, x, mask=mask)
    found, gradients = outputs_and_gradients(ours, x, mask=mask)
    assert_equal(found, expected)
    assert_equal(gradients, expected_gradients)
    assert not np.any(found[0].numpy()[~mask])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_last_output_is_keras_last_output(zeros, holes, backwards, x, mask, rng):
    if holes:
        mask = rng.random(mask.shape) < 0.6
    stock, ours = pair(
        "LSTM", rng, return_sequences=False, return_state=True, go_backwards=backwards, zero_output_for_mask=zeros
    )
    assert_equal(ours(x, mask=mask), stock(x, mask=mask))


@pytest.mark.parametrize("steps", [1, scan.CHUNK, scan.CHUNK + 1])
def test_any_length_and_no_mask(steps, rng):
    x = rng.normal(size=(2, steps, FEATURES)).astype("float32")
    stock, ours = pair("GRU", rng)
    assert_equal(*(outputs_and_gradients(layer, x)[1] for layer in (ours, stock)))


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("LSTM", {"use_bias": False}),
        ("GRU", {"use_bias": False}),
        ("LSTM", {"recurrent_dropout": 0.3}),
        ("GRU", {"reset_after": False}),
        ("SimpleRNN", {"unroll": True}),
    ],
    ids=repr,
)
def test_every_option_gives_the_stock_layers_numbers(cell, options, x, mask, rng):
    stock, ours = pair(cell, rng, **options)
    assert_equal([ours(x, mask=mask)], [stock(x, mask=mask)])


def test_a_row_without_a_valid_frame_is_zeros(x, rng):
    mask = np.zeros((ROWS, STEPS), bool)
    mask[0] = True
    _, ours = pair("LSTM", rng, bidirectional=True)
    (y,), gradients = outputs_and_gradients(ours, x, mask=mask)
    assert not np.any(y[1:])
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("options", [{}, {"recurrent_activation": "hard_sigmoid"}], ids=["scan", "keras"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_nan_in_the_padding_reaches_nothing(cell, options, x, mask, rng):
    _, ours = pair(cell, rng, bidirectional=True, return_state=True, **options)
    expected, expected_gradients = outputs_and_gradients(ours, np.where(mask[..., None], x, 0.0), mask=mask)
    found, gradients = outputs_and_gradients(ours, np.where(mask[..., None], x, np.nan).astype("float32"), mask=mask)
    assert_equal(found, expected, 0)
    assert_equal(gradients, expected_gradients, 1e-6)


def test_a_row_alone_is_the_same_row_in_a_batch(x, mask, rng):
    _, ours = pair("GRU", rng, bidirectional=True)
    batch = ours(x, mask=mask)
    np.testing.assert_allclose(ours(x[1:2, :17]), batch[1:2, :17], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "policy", "multiplies"),
    [
        ("LSTM", "mixed_bfloat16", True),
        ("LSTM", "mixed_bfloat16", False),
        ("GRU", "mixed_bfloat16", True),
        ("SimpleRNN", "mixed_bfloat16", True),
        ("GRU", "mixed_float16", True),
        ("SimpleRNN", "float64", True),
    ],
)
def test_other_dtypes_are_close_to_float32(cell, policy, multiplies, x, mask, rng, monkeypatch):
    monkeypatch.setattr(layers.recurrent, "_multiplies_bfloat16", lambda: multiplies)
    _, exact = pair(cell, rng)
    layer = getattr(layers, cell)(UNITS, return_sequences=True, zero_output_for_mask=True, dtype=policy)
    layer.build(x.shape)
    layer.set_weights(exact.get_weights())
    (y,), gradients = outputs_and_gradients(layer, x, mask=mask)
    assert y.dtype == layer.compute_dtype
    assert_equal([tf.cast(y, tf.float32)], [exact(x, mask=mask)], 1e-5 if policy == "float64" else 0.03)
    expected = outputs_and_gradients(exact, x, mask=mask)[1]
    assert_equal([tf.cast(g, tf.float32) for g in gradients], expected, 1e-5 if policy == "float64" else 0.05)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_does_not_fit_the_sequences_is_refused(cell, activation, x):
    layer = getattr(layers, cell)(3, activation=activation)
    layer(x)
    batch, steps, features = x.shape
    count = 2 if cell == "LSTM" else 1

    def refused(said, values=x, **call):
        with pytest.raises(ValueError, match=said):
            layer(values, **call)

    refused(rf"axis -1 .* value {features}", x[:, :, 1:])
    for shape in ((batch, steps + 1), (batch, steps - 1), (batch - 1, steps)):
        refused(rf"a mask of shape \({shape[0]}, {shape[1]}\)", mask=np.ones(shape, bool))
    for shape in ((batch + 1, 3), (batch, 4)):
        refused(rf"`initial_state` must be {count} of shape", initial_state=[np.zeros(shape, "float32")] * count)
    refused(rf"`initial_state` must be {count} of shape", initial_state=[np.zeros((batch, 3), "float32")] * 3)


@pytest.mark.parametrize("cell", CELLS)
def test_a_mask_may_have_an_axis_for_the_features_as_in_keras(cell, x, mask, rng):
    stock, ours = pair(cell, rng, zero_output_for_mask=False)
    np.testing.assert_allclose(ours(x, mask=mask[:, :, None]), stock(x, mask=mask[:, :, None]), atol=1e-5)


def test_a_stateful_layer_carries_its_state_over(x, rng):
    _, whole = pair("LSTM", rng)
    part = layers.LSTM(UNITS, return_sequences=True, stateful=True)
    part.build((ROWS, STEPS // 2, FEATURES))
    part.set_weights(whole.get_weights())
    parts = [part(x[:, : STEPS // 2]), part(x[:, STEPS // 2 :])]
    assert_equal([np.concatenate(parts, axis=1)], [whole(x)], 1e-6)


def test_input_dropout_is_one_mask_for_all_steps(rng):
    layer = layers.SimpleRNN(UNITS, return_sequences=True, dropout=0.5, recurrent_initializer="zeros")
    y = layer(np.ones((64, STEPS, 1), "float32"), training=True).numpy()
    np.testing.assert_allclose(y, np.repeat(y[:, :1], STEPS, 1), atol=1e-6)
    assert 0.2 < np.mean(y[:, 0] == 0) < 0.8


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_model_trains_saves_and_loads(cell, x, mask, tmp_path):
    inputs = [keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")]
    y = keras.layers.Bidirectional(getattr(layers, cell)(UNITS, return_sequences=True))(inputs[0], mask=inputs[1])
    model = keras.Model(inputs, keras.layers.Dense(1)(y))
    model.compile("adam", "mse")
    assert model.jit_compile is False
    target = np.cumsum(x[..., :1], axis=1) / 5
    losses = [model.train_on_batch([x, mask], target) for _ in range(20)]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded([x, mask]), model([x, mask]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_files_are_the_stock_layers(cell, x, tmp_path):
    models = []
    for library in (keras.layers, layers):
        inputs = keras.Input((None, FEATURES))
        y = getattr(library, cell)(UNITS, return_sequences=True)(inputs)
        models.append(keras.Model(inputs, keras.layers.Bidirectional(getattr(library, cell)(UNITS))(y)))
    stock, ours = models
    for source, target in [(stock, ours), (ours, stock)]:
        source.save_weights(tmp_path / "a.weights.h5")
        target.set_weights([np.zeros_like(w) for w in target.get_weights()])
        target.load_weights(tmp_path / "a.weights.h5")
        np.testing.assert_allclose(ours(x), stock(x), rtol=0, atol=1e-6)


def test_a_config_keeps_every_argument():
    layer = layers.LSTM(3, dropout=0.2, return_sequences=True, use_cudnn=False, seed=3, name="a")
    again = layers.LSTM.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.use_cudnn is False


def training_step_and_its_traces(signature):
    layer = keras.layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True))
    layer.build((None, None, FEATURES))

    @tf.function(input_signature=signature)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x))
        return tape.gradient(loss, layer.trainable_variables)

    def traces():
        kernels = [kernel for reverse in (False, True) for kernel in scan._kernels("lstm", reverse)]
        return [kernel.experimental_get_tracing_count() for kernel in kernels]

    return step, traces


@pytest.mark.parametrize(
    ("signature", "lengths"),
    [
        pytest.param([tf.TensorSpec((None, None, FEATURES))], (40, 7, 50, 1, 111), id="lengths unknown to the graph"),
        pytest.param(None, (40, 50, 111), id="lengths known to it"),
        pytest.param(None, (7, 5, 8), id="short lengths known to it"),
    ],
)
def test_new_lengths_compile_nothing(rng, signature, lengths):
    step, traces = training_step_and_its_traces(signature)
    first, *others = lengths
    step(rng.normal(size=(3, first, FEATURES)).astype("float32"))
    before = traces()
    for steps in others:
        step(rng.normal(size=(3, steps, FEATURES)).astype("float32"))
    assert traces() == before


@pytest.mark.parametrize(
    ("steps", "chunk"), [(None, 24), (0, 1), (1, 1), (2, 2), (3, 4), (8, 8), (17, 24), (24, 24), (400, 24)]
)
def test_a_kernel_holds_no_more_than_twice_the_steps_there_are(steps, chunk):
    assert scan._chunk_size(steps) == chunk


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_few_steps_equal_keras(cell, steps, rng):
    stock, ours = pair(cell, rng, bidirectional=True)
    x = rng.normal(size=(3, steps, FEATURES)).astype("float32")
    mask = np.arange(steps) < np.array([[steps], [max(1, steps - 1)], [1]])
    expected, expected_gradients = outputs_and_gradients(stock, x, mask=mask)
    found, gradients = outputs_and_gradients(ours, x, mask=mask)
    assert_equal(found, expected)
    assert_equal(gradients, expected_gradients)


def test_layers_of_one_size_share_their_compiled_kernels():
    assert scan._kernels("lstm", False) is scan._kernels("lstm", False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"recurrent_dropout": 0.1}, "recurrent_dropout=0.1"),
        ({"unroll": True}, "unroll=True"),
        ({"activation": "relu"}, "activation=relu"),
        ({"reset_after": False}, "reset_after=False"),
    ],
)
def test_a_slow_path_says_why(options, reason):
    path = execution_path(keras.layers.Bidirectional(layers.GRU(3, **options)))
    assert path.name == "keras"
    assert reason in path.reason


def test_the_path_of_other_layers():
    assert execution_path(keras.layers.LSTM(3)).name == "keras"
    with pytest.raises(TypeError, match="must be a recurrent layer"):
        execution_path(keras.layers.Dense(3))


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes cuDNN")
def test_the_plain_options_take_the_scan():
    for cell in CELLS:
        assert execution_path(getattr(layers, cell)(3)).name == "scan"


@pytest.mark.gpu
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_cudnn_and_the_scan_agree(cell, x, mask, rng):
    _, on_gpu = pair(cell, rng, bidirectional=True)
    _, scanned = pair(cell, rng, bidirectional=True, use_cudnn=False)
    scanned.set_weights(on_gpu.get_weights())
    assert execution_path(on_gpu).name == "cudnn"
    assert execution_path(scanned).name == "scan"
    expected, expected_gradients = outputs_and_gradients(scanned, x, mask=mask)
    found, gradients = outputs_and_gradients(on_gpu, x, mask=mask)
    assert_equal(found, expected, 1e-3)
    assert_equal(gradients, expected_gradients, 5e-3)


def test_batches_of_many_sizes_compile_few_kernels(rng):
    _, ours = pair("GRU", rng)
    kernel, _ = scan._kernels("gru", False)
    x = rng.normal(size=(24, 5, FEATURES)).astype("float32")
    whole = ours(x)
    before = kernel.experimental_get_tracing_count()
    for batch in (17, 19, 23):
        np.testing.assert_allclose(ours(x[:batch]), whole[:batch], rtol=0, atol=1e-6)
    assert kernel.experimental_get_tracing_count() == before


@pytest.mark.parametrize(
    ("batch", "filled"), [(1, 1), (2, 2), (5, 6), (7, 8), (13, 16), (16, 16), (17, 24), (100, 128)]
)
def test_a_batch_is_filled_by_at_most_half(batch, filled):
    assert int(scan._padded_batch_size(tf.constant(batch))) == filled


@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_are_the_stock_layers(cell, x, mask, rng):
    found = []
    for layer in pair(cell, rng):
        variables = layer.trainable_variables
        with tf.GradientTape() as outer:
            _, gradients = outputs_and_gradients(layer, x, mask=mask)
            penalty = sum(tf.reduce_sum(tf.sin(g) * g) for g in gradients)
        found.append(outer.gradient(penalty, variables))
    stock, ours = found
    assert_equal(ours, stock, 1e-4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
def test_by_default_masked_steps_are_keras_masked_steps(cell, backwards, x, rng):
    mask = rng.random((ROWS, STEPS)) < 0.6
    mask[:2, :3], mask[2:, -3:] = False, False
    mask[3] = False
    stock, ours = pair(cell, rng, zero_output_for_mask=False, return_state=True, go_backwards=backwards)
    states = [rng.normal(size=(ROWS, UNITS)).astype("float32") for _ in range(2 if cell == "LSTM" else 1)]
    expected, expected_gradients = outputs_and_gradients(stock, x, states=states, mask=mask)
    found, gradients = outputs_and_gradients(ours, x, states=states, mask=mask)
    assert_equal(found, expected)
    assert_equal(gradients, expected_gradients)
