"""What the diagnostics promise: each layer's path and why, the true gradients, and verdicts on known cases."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import layers
from speechrnn.layers import ChronoBias
from speechrnn.report import plots
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.training import GuardedAdamW, diagnostics
from speechrnn.training.diagnostics import GradientReport, gradient_flow, verdicts
from speechrnn.training.diagnostics.report import layer_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NO_GPU = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes cuDNN")


def one_layer(layer, features=3, steps=None):
    return keras.Sequential([keras.Input((steps, features)), layer, keras.layers.Dense(2, name="out")])


@NO_GPU
def test_every_recurrent_layer_is_found_with_its_path_and_what_to_change():
    inner = keras.Sequential(
        [keras.Input((None, 4)), keras.layers.GRU(4, return_sequences=True, name="stock")], name="inner"
    )
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            inner,
            keras.layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both"),
            layers.GRU(4, return_sequences=True, recurrent_dropout=0.1, name="dropped"),
            layers.SimpleRNN(4, name="simple"),
        ]
    )
    found = {path.layer: path for path in diagnostics.layer_paths(model)}
    assert list(found) == ["stock", "both", "dropped", "simple"]
    assert [path.path for path in found.values()] == ["keras", "scan", "keras", "scan"]
    assert "use speechrnn.layers.GRU" in found["stock"].advice[0]
    assert found["stock"].gpu_obstacles == found["both"].gpu_obstacles == ()
    assert found["both"].kind == "Bidirectional LSTM" and not found["both"].advice
    assert "recurrent_dropout=0.1" in found["dropped"].advice[0]
    assert "SimpleRNN" in found["simple"].gpu_obstacles[0]


def test_a_stock_layer_hears_at_once_of_the_options_that_would_keep_ours_slow_too():
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.LSTM(4, recurrent_dropout=0.2)])
    (path,) = diagnostics.layer_paths(model)
    assert len(path.advice) == 2 and "speechrnn.layers.LSTM" in path.advice[0]
    assert "recurrent_dropout=0.2" in path.advice[1]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"activation": "relu"}, "activation=relu"),
        ({"recurrent_activation": "hard_sigmoid"}, "recurrent_activation=hard_sigmoid"),
        ({"use_bias": False}, "use_bias=False"),
        ({"unroll": True}, "unroll=True"),
        ({"reset_after": False}, "reset_after=False"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout=0.2"),
        ({"use_cudnn": False}, "use_cudnn=False"),
    ],
    ids=repr,
)
def test_what_keeps_a_layer_from_cudnn_is_named(options, named):
    (obstacle,) = diagnostics.paths.gpu_obstacles(keras.layers.Bidirectional(layers.GRU(3, **options)))
    assert obstacle.startswith(named)


@NO_GPU
def test_requiring_cudnn_names_the_layer_and_the_reason():
    model = one_layer(layers.GRU(4, recurrent_dropout=0.1, name="slow"))
    with pytest.raises(ValueError, match=r"slow \(GRU\): keras, recurrent_dropout=0.1.*on a GPU, too: recurrent_dro"):
        diagnostics.require_cudnn(model)


def stepwise(layer, x, weights, projection):
    """Gradient of the projected last output in each state h_t of a SimpleRNN, by the product of its Jacobians."""
    kernel, recurrent, bias = weights
    states = [np.zeros(recurrent.shape[0])]
    for row in x:
        states.append(np.tanh(row @ kernel + states[-1] @ recurrent + bias))
    gradient, norms = projection, []
    for state in states[:0:-1]:
        norms.append(np.linalg.norm(gradient))
        gradient = recurrent @ (gradient * (1 - state**2))
    return norms


def test_the_flow_of_a_simple_rnn_is_the_product_of_its_jacobians(rng):
    layer = layers.SimpleRNN(5, name="cell")
    model = keras.Sequential([keras.Input((None, 3)), layer])
    layer.set_weights([rng.normal(size=w.shape) / 2 for w in layer.get_weights()])
    x = rng.normal(size=(1, 12, 3)).astype("float32")
    flow = gradient_flow(model, x, seed=4)["cell"]
    projection = np.random.default_rng(4).normal(size=(1, 5))[0]
    np.testing.assert_allclose(flow.norms, stepwise(layer, x[0], layer.get_weights(), projection), rtol=1e-4)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "SimpleRNN"])
def test_the_flow_is_that_of_the_initial_state_and_leaves_the_layer_alone(cell, rng):
    """The gradient in the state k steps before the end is that in the initial state of the last k steps."""
    layer = getattr(layers, cell)(4, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), layer])
    x = rng.normal(size=(1, 9, 3)).astype("float32")
    before = model(x).numpy()
    (flow,) = gradient_flow(model, x).values()
    np.testing.assert_array_equal(model(x), before)
    projection = np.random.default_rng(0).normal(size=(1, 4)).astype("float32")
    for lag in (1, 4, 8):
        states = [tf.convert_to_tensor(s) for s in states_after(cell, layer, x[:, : 9 - lag])]
        with tf.GradientTape() as tape:
            tape.watch(states)
            loss = tf.reduce_sum(layer(x[:, 9 - lag :], initial_state=states)[:, -1] * projection)
        gradients = tape.gradient(loss, states)
        expected = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
        assert flow.norms[lag] == pytest.approx(expected, rel=1e-4)


def states_after(cell, layer, x):
    stateful = getattr(keras.layers, cell)(4, return_state=True)
    stateful.build(x.shape)
    stateful.set_weights(layer.get_weights())
    return stateful(x)[1:]


def test_lag_counts_from_each_rows_own_end(rng):
    model = recurrent_ctc("gru", num_features=3, vocabulary_size=4, units=5, layers=1, residual=False)
    for variable in model.trainable_variables:  # biases too, or a step of padding would leave a state of zeros
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    x = rng.normal(size=(1, 20, 3)).astype("float32")
    padded = np.concatenate([x, np.full((1, 7, 3), np.nan, "float32")], axis=1)
    alone = gradient_flow(model, (([x, np.array([20])]),))
    batched = gradient_flow(model, (([padded, np.array([20])]),))
    assert list(alone) == ["bidirectional_0 forward", "bidirectional_0 backward"]
    for name, flow in alone.items():
        assert len(flow.norms) == 20
        np.testing.assert_allclose(batched[name].norms, flow.norms, rtol=1e-4)


def test_the_flow_of_the_models_own_loss_and_a_stateful_layer(rng):
    layer = layers.LSTM(4, stateful=True, name="memory")
    model = keras.Sequential([keras.Input(batch_shape=(2, 6, 3)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = rng.normal(size=(2, 6, 3)).astype("float32")
    model(x)
    kept = [state.numpy() for state in layer.states]
    flow = gradient_flow(model, (x, np.ones((2, 1), "float32")), source="loss")["memory"]
    assert (flow.norms > 0).all() and len(flow.norms) == 6
    for state, value in zip(layer.states, kept, strict=True):
        np.testing.assert_array_equal(state.numpy(), value)


def test_what_cannot_be_probed_is_refused(rng):
    model = one_layer(layers.GRU(2, name="cell"))
    x = np.zeros((1, 3, 3), "float32")
    with pytest.raises(ValueError, match=r"recurrent layer must be one of cell\. Received: .cel."):
        gradient_flow(model, x, layer="cel")
    with pytest.raises(ValueError, match="needs a batch with its targets"):
        gradient_flow(model, x, source="loss")
    with pytest.raises(ValueError, match="must be an LSTM, a GRU or a SimpleRNN"):
        gradient_flow(one_layer(keras.layers.RNN(keras.layers.GRUCell(2))), x)


@pytest.mark.parametrize(
    ("radius", "state", "remedy"), [(0.5, "vanishing", "LSTM"), (1.0, "healthy", None), (2.0, "exploding", "clip")]
)
def test_the_spectral_radius_decides_the_verdict(radius, state, remedy):
    """With inputs of zero tanh is the identity around 0: the gradient is the radius to the power of the lag."""
    layer = layers.SimpleRNN(4, use_bias=False, name="cell")
    model = keras.Sequential([keras.Input((None, 1)), layer])
    layer.set_weights([np.zeros((1, 4)), radius * np.eye(4)])
    flow = gradient_flow(model, np.zeros((2, 40, 1), "float32"))["cell"]
    assert flow.per_step == pytest.approx(radius, rel=1e-5)
    verdict = flow.verdict()
    assert verdict.state == state and verdict.healthy == (state == "healthy")
    assert remedy is None or any(remedy in text for text in verdict.remedies)
    assert flow.verdict(lag=1).healthy
    if radius == 0.5:
        assert flow.reach == 9  # 2 ** -10 < 1 / 1000


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_gates_that_start_open_carry_the_gradient_as_far_as_they_were_told(cell, rng):
    x = rng.normal(size=(4, 200, 2)).astype("float32")
    reach = {}
    for lag in (None, 200):
        options = {} if lag is None else {"bias_initializer": ChronoBias(lag)}
        options |= {"unit_forget_bias": False} if lag and cell == "LSTM" else {}
        model = keras.Sequential([keras.Input((None, 2)), getattr(layers, cell)(16, **options)])
        (flow,) = gradient_flow(model, x).values()
        reach[lag] = flow.reach
    assert reach[200] == 199
    assert reach[None] < 60


def test_chrono_bias_sets_the_gates_of_both_cells():
    i, f, c, o = np.split(np.asarray(ChronoBias(50)((16,))), 4)
    assert (f == -i).all() and not c.any() and not o.any()
    assert f.min() >= 0 and f.max() <= np.log(49)
    bias = np.asarray(ChronoBias(50)((2, 12)))
    np.testing.assert_allclose(bias[0, :4], f, rtol=1e-6)
    assert not bias[1].any() and not bias[0, 4:].any()
    with pytest.raises(ValueError, match="must be that of an LSTM"):
        ChronoBias(50)((3,))
    with pytest.raises(ValueError, match="at least 3"):
        ChronoBias(2)


def regression(rng, optimizer, *, count=24):
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.GRU(4, name="memory"), keras.layers.Dense(1, name="out")], name="net"
    )
    model.compile(optimizer, "mse")
    x = rng.normal(size=(count, 5, 3)).astype("float32")
    return model, x, x.sum((1, 2))[:, None]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.0),
        lambda: GuardedAdamW(1e-12, max_norm=1e-3),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=64.0),
    ],
    ids=["sgd", "guarded", "scaled"],
)
def test_the_report_holds_the_norms_of_the_true_gradients(optimizer, rng, tmp_path):
    model, x, y = regression(rng, optimizer())
    expected = {"memory": [], "out": []}
    for rows in (slice(0, 8), slice(8, 16), slice(16, 24)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x[rows]) - y[rows]))
        for variable, gradient in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        ):
            expected[layer_of(variable.path, "net")].append(np.sum(np.square(gradient)))
    per_batch = {
        "memory": np.sqrt(np.reshape(expected["memory"], (3, -1)).sum(1)),
        "out": np.sqrt(np.reshape(expected["out"], (3, -1)).sum(1)),
    }
    report = GradientReport(tmp_path / "g.csv", tensorboard=tmp_path / "board")
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[report])
    with open(tmp_path / "g.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"], row["layer"]) for row in rows] == [
        ("1", "3", "memory"), ("1", "3", "out"), ("2", "6", "memory"), ("2", "6", "out"),
    ]  # fmt: skip
    for row in rows:
        assert float(row["norm"]) == pytest.approx(per_batch[row["layer"]].mean(), rel=1e-4)
        assert float(row["largest"]) == pytest.approx(per_batch[row["layer"]].max(), rel=1e-4)
        assert (row["non_finite"], row["batches"]) == ("0", "3")
    assert any((tmp_path / "board").rglob("events*"))
    assert all(verdict.healthy for verdict in report.verdicts())
    assert "apply" not in vars(model.optimizer)


def test_intervals_shorter_than_an_epoch_and_a_step_compiled_before(rng):
    model, x, y = regression(rng, "sgd", count=20)
    model.fit(x, y, batch_size=4, verbose=0)  # compiles the step without gauges
    report = GradientReport(every=2)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[report])
    assert [(row["step"], row["batches"]) for row in report.rows[::2]] == [(2, 2), (4, 2), (5, 1)]
    before = len(report.rows)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert len(report.rows) == before
    with pytest.raises(ValueError, match="`every` must be at least 1"):
        GradientReport(every=0)


def test_gradients_that_are_not_finite_are_counted_and_condemned(rng):
    model, x, y = regression(rng, GuardedAdamW(1e-3))
    y[9] = np.nan
    report = GradientReport()
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[report])
    assert [row["non_finite"] for row in report.rows] == [1, 1, 1, 1]
    assert all(np.isfinite(row["norm"]) for row in report.rows)
    assert {verdict.state for verdict in report.verdicts()} == {"exploding"}
    assert "2 of 6 gradients were not finite" in report.verdicts()[0].reason


def test_a_resumed_report_goes_on_with_its_file(rng, tmp_path):
    path = tmp_path / "g.csv"
    for initial, epochs in ((0, 2), (1, 3), (0, 1)):
        model, x, y = regression(rng, "sgd")
        report = GradientReport(path)
        model.fit(x, y, batch_size=8, initial_epoch=initial, epochs=epochs, verbose=0, callbacks=[report])
        with open(path, encoding="utf-8") as file:
            found = [(int(row["epoch"]), int(row["step"])) for row in csv.DictReader(file) if row["layer"] == "out"]
        assert found == [(epoch, 3 * epoch) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize(
    ("means", "largest", "share", "state"),
    [
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], 1.0, "healthy"),
        ([1.0, 2.0, 1.0], [2.0, 12.0, 2.0], 1.0, "exploding"),  # nine others of 0.9
        ([1.0, 2.0, 1.0], [2.0, 9.0, 2.0], 1.0, "healthy"),
        ([50.0, 1.0, 0.01], [90.0, 2.0, 0.02], 1.0, "healthy"),  # norms fall as a network learns
        ([2.0, 1.0, 1.0], [12.0, 2.0, 2.0], 1.0, "healthy"),  # the first batches do not count
        ([2.0], [12.0], 1.0, "exploding"),  # unless there are no others
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], 1e-4, "vanishing"),
    ],
)
def test_norms_in_training_are_judged_by_cliffs_and_by_what_other_layers_get(means, largest, share, state):
    batches = [10] * len(means)
    assert verdicts.judge_norms("a", means, largest, batches, non_finite=0, share=share).state == state


def flow(norms):
    return diagnostics.GradientFlow("a", "GRU", np.asarray(norms, float))


def test_the_plot_shows_norms_over_that_at_lag_0_and_leaves_out_what_has_underflown():
    axes = plots.plot_gradient_flow({"one": flow([2.0, 1.0, 0.0]), "two": flow([1.0, 3.0])}).axes[0]
    first, second = (line.get_ydata() for line in axes.get_lines())
    np.testing.assert_array_equal(first, [1.0, 0.5, np.nan])
    np.testing.assert_array_equal(second, [1.0, 3.0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one: vanishing", "two: healthy"]
    with pytest.raises(ValueError, match="at least one layer"):
        plots.plot_gradient_flow({})


def test_losses_have_a_panel_for_each_task_and_the_guess_in_it():
    figure = plots.plot_losses({"a": {"x": {1: 0.5, 2: 0.1}}, "b": {"y": {5: 0.2}}}, naive={"a": 0.4})
    assert [axes.get_title() for axes in figure.axes] == ["a: loss", "b: loss"]
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["x", "a guess"]
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xydata(), [[1, 0.5], [2, 0.1]])
    with pytest.raises(ValueError, match="at least one task"):
        plots.plot_losses({})
