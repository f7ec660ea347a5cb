"""CTC against a brute-force sum over paths, against Keras with lengths, and under padding."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import check_refused, check_second_derivative, loss_and_gradient

from speechrnn import losses
from speechrnn.decoding.alignment import required_frames
from speechrnn.losses import connectionist, lattice


def collapse(path):
    return tuple(k for k, _ in itertools.groupby(path) if k)


def brute_force(logits, target):
    """-log of the summed probability of every path of this length that collapses to `target`."""
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = -np.inf
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if collapse(path) == tuple(target):
            total = np.logaddexp(total, sum(row[k] for row, k in zip(log_probabilities, path, strict=True)))
    return -total


@pytest.fixture
def ragged():
    rng = np.random.default_rng(5)
    target = np.zeros((4, 7), "int32")
    for row, length in enumerate((7, 3, 0, 5)):
        target[row, :length] = rng.integers(1, 6, length)
    return target, rng.normal(size=(4, 30, 6)).astype("float32"), np.array([30, 17, 9, 22], "int32")


@pytest.mark.parametrize("target", [(), (1,), (2, 1), (1, 1), (1, 2, 1)], ids=str)
def test_equals_the_sum_over_all_paths(target):
    logits = np.random.default_rng(len(target)).normal(size=(5, 3)).astype("float32")
    padded = np.array([[*target, 0, 0]], "int32")
    np.testing.assert_allclose(losses.ctc(padded, logits[None], [5])[0], brute_force(logits, target), rtol=1e-5)


def test_equals_keras_with_lengths_in_loss_and_gradient(ragged):
    target, logits, frames = ragged
    lengths = (target != 0).sum(1).astype("int32")
    keep = lengths > 0  # the dense kernel has no empty label
    expected = loss_and_gradient(
        lambda x: keras.ops.nn.ctc_loss(target[keep], x, lengths[keep], frames[keep], mask_index=0), logits[keep]
    )
    got = loss_and_gradient(lambda x: losses.ctc(target[keep], x, frames[keep]), logits[keep])
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], expected[1], atol=1e-5)


def test_gradient_equals_finite_differences(ragged):
    target, logits, frames = ragged
    _, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, frames), logits)
    for row, t, v in ((0, 3, 2), (1, 16, 0), (3, 21, 5)):
        step = np.zeros_like(logits)
        step[row, t, v] = 1e-2
        up, down = (losses.ctc(target, logits + sign * step, frames)[row] for sign in (1, -1))
        np.testing.assert_allclose(gradient[row, t, v], (up - down) / 2e-2, atol=2e-3)


@pytest.mark.parametrize("padding", [0.0, 50.0, np.nan])
def test_padding_changes_neither_loss_nor_gradient(ragged, padding):
    target, logits, frames = ragged
    padded = logits.copy()
    for row, length in enumerate(frames):
        padded[row, length:] = padding
    loss, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, frames), padded)
    for row, length in enumerate(frames):
        alone = loss_and_gradient(
            lambda x, row=row, length=length: losses.ctc(target[row : row + 1], x, [length]),
            logits[row : row + 1, :length],
        )
        np.testing.assert_allclose(loss[row], alone[0][0], rtol=1e-5)
        np.testing.assert_allclose(gradient[row, :length], alone[1][0], atol=1e-5)
        assert not gradient[row, length:].any()


def test_an_impossible_row_is_infinite_teaches_nothing_and_leaves_the_others_alone(ragged):
    target, logits, frames = ragged
    short = frames.copy()
    short[0] = losses.required_frames(target).numpy()[0] - 1
    loss, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, short), logits)
    assert np.isinf(loss[0]) and not gradient[0].any()
    np.testing.assert_allclose(loss[1:], losses.ctc(target, logits, frames)[1:])
    mean, gradient = loss_and_gradient(lambda x: losses.CTC()(target, x, None, short), logits)
    np.testing.assert_allclose(mean, loss[1:].mean(), rtol=1e-5)
    assert np.isfinite(gradient).all() and not gradient[0].any()


def test_exactly_enough_frames_is_possible():
    target = np.array([[1, 1, 2, 2, 2]], "int32")
    assert losses.required_frames(target).numpy().tolist() == [8] == [required_frames(ids) for ids in target]
    logits = np.zeros((1, 8, 3), "float32")
    np.testing.assert_allclose(losses.ctc(target, logits, [8]), 8 * np.log(3), rtol=1e-5)


def test_no_frames_and_no_label_costs_nothing():
    logits = np.full((2, 4, 3), np.nan, "float32")
    logits[1] = 0
    np.testing.assert_allclose(losses.ctc([[0], [1]], logits, [0, 4])[0], 0.0)


def test_rows_of_weight_zero_are_left_out_of_the_mean(ragged):
    target, logits, frames = ragged
    rows = losses.ctc(target, logits, frames).numpy()
    mean = losses.CTC()(target, logits, np.array([1, 0, 1, 0], "float32"), frames)
    np.testing.assert_allclose(mean, (rows[0] + rows[2]) / 2, rtol=1e-6)


def test_half_precision_logits_are_summed_in_float32(ragged):
    target, logits, frames = ragged
    half = tf.cast(logits, tf.float16)
    np.testing.assert_allclose(losses.ctc(target, half, frames), losses.ctc(target, tf.cast(half, tf.float32), frames))


def test_stock_loss_call_counts_every_frame(ragged):
    target, logits, _ = ragged
    full = np.full(len(logits), logits.shape[1], "int32")
    np.testing.assert_allclose(losses.CTC()(target, logits), losses.ctc(target, logits, full).numpy().mean(), rtol=1e-6)


def divergence(p, q):
    return (p * np.log(p / q)).sum()


def test_consistency_is_the_symmetric_divergence_of_the_valid_frames(rng):
    logits, frames = rng.normal(size=(4, 6, 5)).astype("float32"), np.array([6, 4, 6, 4], "int32")
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    a, b = p[:2], p[2:]
    expected = [
        (divergence(x[:n], y[:n]) + divergence(y[:n], x[:n])) / 2 for x, y, n in zip(a, b, frames, strict=False)
    ]
    logits[1::2, 4:] = np.nan
    got, gradient = loss_and_gradient(lambda x: losses.consistency(x, frames), logits)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    # Each view moves towards the other, held fixed: half the difference of the probabilities.
    difference = np.where(np.isnan(logits[:2]), 0, (a - b) / 2)
    np.testing.assert_allclose(gradient, np.concatenate([difference, -difference]), atol=1e-6)


def test_the_loss_of_two_views_adds_their_disagreement(rng):
    target, logits = np.array([[1, 2], [3, 0]] * 2, "int32"), rng.normal(size=(4, 6, 5)).astype("float32")
    frames, weight = np.array([6, 4, 6, 4], "int32"), np.array([1, 0, 1, 0], "float32")
    expected = losses.CTC()(target, logits, weight, frames) + 0.3 * losses.consistency(logits, frames)[0]
    loss = losses.CTC.from_config(losses.CTC(consistency=0.3).get_config())
    np.testing.assert_allclose(loss(target, logits, weight, frames), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"zero or positive. Received: consistency=-1"):
        losses.CTC(consistency=-1)


def reference(target, logits, frames):
    """Loss and gradient of one row by the forward and backward variables of Graves et al., in float64."""
    logits = logits[:frames].astype("float64")
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    symbols = np.zeros(2 * len(target) + 1, int)
    symbols[1::2] = target
    skips = np.zeros(len(symbols), bool)
    skips[2:] = (symbols[2:] != 0) & (symbols[2:] != symbols[:-2])

    def forward(emitted, skips):
        table = np.full(emitted.shape, -np.inf)
        table[0, :2] = emitted[0, :2]
        for t in range(1, len(table)):
            before = table[t - 1]
            stepped, skipped = np.roll(before, 1), np.where(skips, np.roll(before, 2), -np.inf)
            stepped[0] = -np.inf
            table[t] = emitted[t] + np.logaddexp(np.logaddexp(before, stepped), skipped)
        return table

    emitted = log_p[:, symbols]
    alpha = forward(emitted, skips)
    backward_skips = np.roll(skips, -2)[::-1]
    beta = forward(emitted[::-1, ::-1], backward_skips)[::-1, ::-1]
    total = np.logaddexp(alpha[-1, -1], alpha[-1, -2])
    gradient = np.exp(log_p)
    for state, symbol in enumerate(symbols):
        gradient[:, symbol] -= np.exp(alpha[:, state] + beta[:, state] - emitted[:, state] - total)
    return -total, gradient


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0], ids=["flat", "plain", "certain"])
def test_long_rows_are_exact(scale):
    rng = np.random.default_rng(3)
    target = np.zeros((3, 150), "int32")
    for row, length in enumerate((150, 149, 2)):
        target[row, :length] = rng.integers(1, 12, length)
    logits = (scale * rng.normal(size=(3, 900, 12))).astype("float32")
    frames = np.array([900, 333, 900], "int32")
    loss, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, frames), logits)
    for row, length in enumerate(frames):
        expected = reference(target[row][target[row] > 0], logits[row], length)
        np.testing.assert_allclose(loss[row], expected[0], rtol=1e-5)
        np.testing.assert_allclose(gradient[row, :length], expected[1], atol=1e-4)


def test_a_symbol_of_probability_zero_makes_only_its_own_row_impossible(ragged):
    target, logits, frames = ragged
    forbidden = logits.copy()
    forbidden[0, :, target[0, 0]] = -np.inf
    loss, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, frames), forbidden)
    assert np.isinf(loss[0]) and not gradient[0].any()
    expected = loss_and_gradient(lambda x: losses.ctc(target, x, frames), logits)
    np.testing.assert_allclose(loss[1:], expected[0][1:], rtol=1e-6)
    np.testing.assert_allclose(gradient[1:], expected[1][1:], atol=1e-6)


def test_logits_that_are_no_numbers_show_in_their_own_row_only(ragged):
    target, logits, frames = ragged
    broken = logits.copy()
    broken[1, 3, 2] = np.nan
    loss, gradient = loss_and_gradient(lambda x: losses.ctc(target, x, frames), broken)
    assert np.isnan(loss[1]) and np.isfinite(np.delete(loss, 1)).all()
    assert np.isnan(gradient[1]).any() and np.isfinite(np.delete(gradient, 1, 0)).all()


def test_a_mean_hides_no_logits_that_are_no_numbers(ragged):
    target, logits, frames = ragged
    broken = logits.copy()
    broken[1, 3, 2] = np.nan
    assert np.isnan(float(losses.CTC()(target, broken, frames=frames)))
    weight = np.ones(len(target), "float32")
    weight[1] = 0
    expected = float(losses.CTC()(target, logits, weight, frames=frames))
    assert float(losses.CTC()(target, broken, weight, frames=frames)) == pytest.approx(expected)
    assert float(losses.CTC()(target, broken, weight[:, None], frames=frames)) == pytest.approx(expected)


@pytest.mark.parametrize("frames", [0, 1])
def test_rows_without_a_frame_have_a_gradient(frames):
    loss, gradient = loss_and_gradient(
        lambda x: losses.ctc(np.zeros((2, 0), "int32"), x, [0, 0]), np.zeros((2, frames, 3), "float32")
    )
    assert not loss.any() and gradient.shape == (2, frames, 3) and not gradient.any()


@pytest.mark.parametrize(
    ("target", "frames", "error", "said"),
    [
        ([[1, 2]], [6, 6], ValueError, r"targets of shape \(1, 2\)"),
        ([1, 2], [6, 6], ValueError, r"targets of shape \(2,\)"),
        ([[1], [2]], [6], ValueError, r"frames of shape \(1,\)"),
        ([[1], [2]], [[6], [6]], ValueError, r"frames of shape \(2, 1\)"),
        (tf.sparse.from_dense([[1], [2]]), [6, 6], TypeError, "must be dense.*a SparseTensor"),
        (tf.ragged.constant([[1, 2], [1]]), [6, 6], TypeError, r"must be dense.*to_tensor\(\)"),
    ],
)
@pytest.mark.parametrize("loss", [losses.ctc, losses.transducer])
def test_other_rows_than_the_logits_are_refused(loss, target, frames, error, said):
    shape = (2, 6, 5) if loss is losses.ctc else (2, 6, 2, 5)
    with pytest.raises(error, match=said):
        loss(target, tf.zeros(shape), frames)


@pytest.mark.parametrize("loss", [losses.CTC, losses.ClassLoss, losses.Transducer, losses.Attention])
def test_another_reduction_than_the_mean_is_refused(loss):
    with pytest.raises(ValueError, match=f"{loss.__name__} is the mean over a batch.*Received: reduction='sum'"):
        loss(reduction="sum")
    assert loss.from_config(loss().get_config()).get_config() == loss().get_config()


def test_the_kernels_of_a_gpu_and_of_a_cpu_agree(ragged):
    target, logits, frames = ragged
    expected = loss_and_gradient(lambda x: connectionist._ctc_eager(target, x, frames), logits)
    found = loss_and_gradient(lambda x: connectionist._ctc_of_tensorflow(target, x, frames), logits)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.gpu
def test_loss_and_gradient_on_a_gpu_are_those_of_a_cpu(ragged):
    target, logits, frames = ragged
    with tf.device("CPU"):
        expected = loss_and_gradient(lambda x: connectionist._ctc_eager(target, x, frames), logits)
    found = loss_and_gradient(lambda x: losses.ctc(target, x, frames), logits)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)


def test_few_sizes_are_compiled():
    counts = [*range(1, 200, 7), *range(200, 4000, 200)]
    sizes = [int(lattice.rounded(tf.constant(count))) for count in counts]
    assert len(set(sizes)) < 14
    assert all(count <= size <= 1.5 * max(count, 64) for count, size in zip(counts, sizes, strict=True))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("target", "frames", "said"),
    [
        ([[7, 0]], 9, "Labels must lie from 1 to 4"),
        ([[5, 0]], 9, "Labels must lie from 1 to 4"),
        ([[1, -1]], 9, "Labels must lie from 1 to 4"),
        ([[1, 0, 2]], 9, "before their padding"),
        ([[1]], 10, "`frames` must lie"),
        ([[1]], -1, "`frames` must lie"),
    ],
)
def test_targets_that_ctc_cannot_mean_are_refused(target, frames, said, graph):
    check_refused(losses.ctc, (target, np.zeros((1, 9, 5), "float32"), [frames]), said, graph=graph)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("loss", [losses.ctc, losses.transducer])
@pytest.mark.parametrize(("wrong", "said"), [(1.5, "Labels must be whole"), (2**32 + 1, "Labels must be whole")])
def test_labels_that_int32_cannot_hold_are_refused(loss, wrong, said, graph):
    shape = (1, 9, 5) if loss is losses.ctc else (1, 9, 2, 5)
    check_refused(loss, ([[wrong]], np.zeros(shape, "float32"), [9]), said, graph=graph)
    with pytest.raises(TypeError, match="Labels must be whole numbers. Received: string"):
        loss([["a"]], np.zeros(shape, "float32"), [9])


@pytest.mark.parametrize("kind", ["int64", "float32", "float64"])
def test_whole_labels_of_any_type_are_labels(kind, ragged):
    target, logits, frames = ragged
    expected = losses.ctc(target, logits, frames)
    np.testing.assert_array_equal(losses.ctc(target.astype(kind), logits, frames.astype(kind)), expected)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("loss", [losses.ctc, losses.transducer])
@pytest.mark.parametrize(("rows", "steps"), [(0, 5), (0, 0), (2, 0)])
def test_batches_without_a_row_or_a_frame(loss, rows, steps, graph):
    places = () if loss is losses.ctc else (1,)
    call = loss
    if graph:  # where nothing is known of the shape, as in a share of a batch
        unknown = [tf.TensorSpec([None] * rank, kind) for rank, kind in ((2, "int32"), (3 + len(places), "float32"))]
        call = tf.function(loss, [*unknown, tf.TensorSpec([None], "int32")])
    logits = tf.Variable(tf.zeros((rows, steps, *places, 5)))
    with tf.GradientTape() as tape:
        found = call(tf.zeros((rows, 0), tf.int32), tf.convert_to_tensor(logits), tf.zeros([rows], tf.int32))
    np.testing.assert_array_equal(found, np.zeros(rows))
    assert tape.gradient(found, logits).shape == logits.shape


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (4, 3), (4, 3, 1)], ids=str)
def test_weights_are_of_rows_or_of_values(shape, rng):
    target, logits = rng.integers(0, 5, (4, 3)), rng.normal(size=(4, 3, 5)).astype("float32")
    weight = np.asarray(rng.uniform(size=shape), "float32")
    each = losses.softmax_cross_entropy(target, logits).numpy()
    full = np.broadcast_to(weight.reshape(shape[:2] if len(shape) > 1 else (*shape, *[1] * len(shape))), each.shape)
    expected = (each * full).sum() / full.sum()
    np.testing.assert_allclose(losses.ClassLoss()(target, logits, weight), expected, rtol=1e-5)
    values = rng.normal(size=(4, 3)).astype("float32")
    error = losses.pinball(values, logits[..., :1], [0.5]).numpy()
    found = losses.QuantileLoss([0.5])(values, logits[..., :1], weight)
    np.testing.assert_allclose(found, (error * full).sum() / full.sum(), rtol=1e-5)


def test_a_row_of_many_frames_has_a_weight_for_each():
    target, logits = np.array([[0, 1]]), np.array([[[3, 0], [3, 0]]], "float32")
    loss = losses.ClassLoss()(target, logits, np.array([[1, 0]], "float32"))
    np.testing.assert_allclose(loss, losses.softmax_cross_entropy(target, logits)[0, 0])


@pytest.mark.parametrize("shape", [(3,), (2, 6), (1, 6), (2, 2, 2)], ids=str)
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="`sample_weight` must be a weight for each row"):
        losses.CTC()(np.ones((2, 1), "int32"), np.zeros((2, 6, 3), "float32"), np.ones(shape, "float32"))


def test_targets_in_the_shapes_that_keras_takes(rng):
    logits, target = rng.normal(size=(6, 3)).astype("float32"), rng.integers(0, 3, 6)
    expected = losses.softmax_cross_entropy(target, logits)
    for other in (target[:, None], target.astype("float32"), np.eye(3)[target], np.eye(3, dtype="int64")[target]):
        np.testing.assert_allclose(losses.softmax_cross_entropy(other, logits), expected, rtol=1e-6)
        np.testing.assert_allclose(losses.ClassLoss()(other, logits), tf.reduce_mean(expected), rtol=1e-6)
    values, forecast = rng.normal(size=(6, 2)), rng.normal(size=(6, 2, 3))
    given = [0.1, 0.5, 0.9]
    expected = losses.QuantileLoss(given)(values, forecast)
    np.testing.assert_allclose(losses.QuantileLoss(given)(values[..., None], forecast), expected)


def test_targets_and_weights_of_another_number_are_refused():
    logits = np.zeros((2, 3), "float32")
    for target in ([0], [[0, 1]], [[[0]], [[1]]]):
        with pytest.raises(ValueError, match="index of a class for each row of logits"):
            losses.ClassLoss()(target, logits)
    with pytest.raises(ValueError, match="must be like the logits, 0 or 1 for each class"):
        losses.ClassLoss(multi=True)([[1], [0]], logits)
    with pytest.raises(ValueError, match="A forecast must have one more axis than its target"):
        losses.QuantileLoss([0.1, 0.5, 0.9])(np.zeros((2, 3)), np.zeros((2, 3)))
    for multi in (False, True):
        with pytest.raises(ValueError, match="`weights` must be 3, one for each class. Received: 1"):
            losses.ClassLoss(multi=multi, weights=[2.0])(np.eye(3)[:2], logits)


def test_a_batch_of_two_views_is_even():
    with pytest.raises(ValueError, match="second half of a batch must be the utterances.*Received: 3 rows"):
        losses.CTC(consistency=0.1)([[1], [2], [1]], np.zeros((3, 5, 3), "float32"))


@pytest.mark.parametrize("target", [[[1], [2]], [[1, 2], [1, 0]]], ids=str)
@pytest.mark.parametrize("graph", [False, True])
def test_halves_of_a_batch_that_are_no_views_of_the_same_are_refused(target, graph):
    given = np.array(target), np.zeros((len(target), 5, 3), "float32")
    check_refused(losses.CTC(consistency=0.1), given, "second half of a batch must be the utterances", graph=graph)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("wrong", [5, -2])
def test_classes_out_of_range_are_refused(wrong, graph):
    given = [wrong], np.zeros((1, 5), "float32")
    check_refused(losses.softmax_cross_entropy, given, "Classes must lie from 0 to 4", graph=graph)


def test_the_second_derivative_of_ctc(ragged):
    target, logits, frames = ragged
    check_second_derivative(lambda logits: losses.ctc(target, logits, frames), logits)
