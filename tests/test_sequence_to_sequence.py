"""Encoder-decoders: attention, padding, training, the search, ONNX, files, and what is no pair."""

import functools
import itertools
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import speechrnn as sr
from pipelines import letters_to_phones as recipe
from speechrnn.data.manifest import Example
from speechrnn.export.writing import onnx_bytes
from speechrnn.faults import Faults
from speechrnn.tasks.sequence_to_sequence import (
    Pair,
    SearchOptions,
    SequenceSession,
    SequenceToSequence,
    SequenceTraining,
    attention_network,
    beam_search,
)
from speechrnn.tasks.sequence_to_sequence import pairs as pairing
from speechrnn.tasks.sequence_to_sequence.training import SequenceTask
from speechrnn.text import Lexicon, Phones, Vocabulary
from speechrnn.training import diagnostics
from speechrnn.training.task import Split

ROOT = Path(__file__).resolve().parents[1]
PAIRS = [Pair("ab", "X Y"), Pair("cab", "Z X Y"), Pair("b", "Y"), Pair("abcab", "X Y Z X Y")]


def made(cell="lstm", **options):
    """A small one with weights at random."""
    keras.utils.set_random_seed(0)
    sizes = {"units": 8, "attention": 5, "embedding": 4, "dropout": 0.1}
    model = SequenceToSequence.for_manifest(PAIRS, target="words", cell=cell, **{**sizes, **options})
    rng = np.random.default_rng(1)
    model.network.set_weights([value + rng.normal(0, 0.5, value.shape) for value in model.network.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture(scope="module")
def session(model):
    return SequenceSession(onnx_bytes(model), threads=1)


def inputs(model, pairs, *, fill=0):
    """A batch; what stands in its padding is `fill`."""
    source, source_length = pairing.padded([model.source.encode(pair.source) for pair in pairs], fill=fill)
    previous, length = pairing.padded([[0, *model.target.encode(pair.target)] for pair in pairs], fill=fill)
    return {"source": source, "source_length": source_length, "previous": previous, "target_length": length}


# The network


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_padding_never_changes_a_valid_output(cell):
    model = made(cell, layers=2 if cell == "lstm" else 1)
    together = np.asarray(model(inputs(model, PAIRS, fill=2), training=False))
    for row, pair in zip(together, PAIRS, strict=True):
        alone = np.asarray(model(inputs(model, [pair]), training=False))[0]
        np.testing.assert_allclose(row[: len(alone)], alone, rtol=0, atol=1e-5)
        assert not row[len(alone) :].any()


def test_the_decoder_ignores_what_stands_in_the_padding_of_its_memory(model, rng):
    memory = rng.normal(size=(2, 5, 16)).astype("float32")
    dirty = memory.copy()
    dirty[1, 2:] = np.nan
    given = np.zeros((2, 3), "int32"), np.array([5, 2]), np.array([3, 3])
    clean, other = (np.asarray(model.decoder(given[0], values, *given[1:])) for values in (memory, dirty))
    np.testing.assert_array_equal(clean, other)


def test_steps_are_the_whole(model):
    pair = PAIRS[3]
    batch = inputs(model, [pair])
    memory, states = model.begin([model.source.encode(pair.source)])
    found = []
    for symbol in batch["previous"][0]:
        logits, attention, states = model.step(np.array([symbol]), memory, states)
        found.append(logits[0])
        assert attention.shape == (1, len(pair.source))
        np.testing.assert_allclose(attention.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found, np.asarray(model(batch, training=False))[0], rtol=0, atol=1e-5)


def test_attention_is_bahdanaus(model):
    """Scores `v . tanh(W s + U h)` by hand, from the decoder's weights."""
    decoder = model.decoder
    memory, states = model.begin([model.source.encode("cab")])
    _, attention, after = model.step(np.array([1]), memory, states)
    weight = {name: np.asarray(getattr(decoder, name).kernel) for name in ("query", "key", "energy")}
    keys = memory["values"][0] @ weight["key"] + np.asarray(decoder.key.bias)
    energies = np.tanh(keys + after["output"][0] @ weight["query"]) @ weight["energy"][:, 0]
    np.testing.assert_allclose(attention[0], np.exp(energies) / np.exp(energies).sum(), rtol=1e-4)


def test_guesses_take_the_place_of_the_truth(model):
    """Where every symbol is guessed, what the truth says has no influence; where none is, guesses have none."""
    batch = inputs(model, PAIRS)
    everywhere = {**batch, "guessed": np.ones(batch["previous"].shape, bool)}
    nonsense = {**everywhere, "previous": np.where(batch["previous"] > 0, 1, 0).astype("int32")}
    free = np.asarray(model(everywhere, training=False))
    np.testing.assert_array_equal(free, model(nonsense, training=False))
    given = np.asarray(model({**batch, "guessed": np.zeros(batch["previous"].shape, bool)}, training=False))
    np.testing.assert_array_equal(given, model(batch, training=False))
    # By hand: the likeliest symbol of each step is read by the next one.
    logits = np.asarray(model({**batch, "previous": np.pad(free.argmax(-1)[:, :-1], [[0, 0], [1, 0]])}, training=False))
    np.testing.assert_allclose(free, logits, rtol=0, atol=1e-5)


# The search


def scripted(vocabulary, length, seed=0, rows=1):
    """A decoder whose logits depend on the whole sequence: a table by prefix; its attention does too."""
    rng = np.random.default_rng(seed)
    table = {}

    def of(row, prefix):
        if (row, prefix) not in table:
            weights = rng.random(3)
            table[row, prefix] = rng.normal(0, 1.5, vocabulary), weights / weights.sum()
        return table[row, prefix]

    def step(previous, memory, states):
        prefixes = [
            (*prefix[prefix >= 0], symbol) for prefix, symbol in zip(states["prefix"], previous.tolist(), strict=True)
        ]
        found = [of(row, prefix) for row, prefix in zip(memory["row"].tolist(), prefixes, strict=True)]
        after = np.full((len(previous), length + 2), -1)
        for row, prefix in zip(after, prefixes, strict=True):
            row[: len(prefix)] = prefix
        logits, attention = (np.array(part) for part in zip(*found, strict=True))
        return logits, attention, {"prefix": after}

    memory = {"row": np.arange(rows)}
    states = {"prefix": np.full((rows, length + 2), -1)}
    return step, memory, states, of


def by_force(of, row, vocabulary, length, options):
    """All sequences with their scores, the best first."""
    found = []
    for size in range(length + 1):
        for symbols in itertools.product(range(1, vocabulary), repeat=size):
            total, attention = 0.0, np.zeros(3)
            for place in range(size + 1):
                logits, weights = of(row, (0, *symbols[:place]))
                total += logits[(*symbols, 0)[place]] - np.log(np.exp(logits).sum())
                attention += weights
            score = total / ((5 + size + 1) / 6) ** options.length_penalty
            score += options.coverage_penalty * np.log(np.minimum(attention, 1)).sum()
            found.append((score, symbols))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("penalties", [(0.0, 0.0), (1.0, 0.0), (0.6, 0.4)])
def test_a_wide_beam_finds_what_brute_force_finds(penalties):
    vocabulary, length, rows = 4, 3, 3
    step, memory, states, of = scripted(vocabulary, length, rows=rows)
    options = SearchOptions(beam=40, best=5, length_penalty=penalties[0], coverage_penalty=penalties[1])
    found = beam_search(step, memory, states, np.full(rows, 3), max_length=length, options=options)
    for row in range(rows):
        expected = by_force(of, row, vocabulary, length, options)[:5]
        assert [one.symbols for one in found[row]] == [symbols for _, symbols in expected]
        np.testing.assert_allclose([one.score for one in found[row]], [score for score, _ in expected], rtol=1e-9)
        assert all(one.attention.shape == (len(one.symbols) + 1, 3) for one in found[row])


def test_a_beam_of_one_takes_the_likeliest_symbol_every_time():
    step, memory, states, of = scripted(5, 8, seed=3)
    options = SearchOptions(beam=1, length_penalty=0.0)
    ((found,),) = beam_search(step, memory, states, np.array([3]), max_length=8, options=options)
    prefix = (0,)
    while (symbol := int(of(0, prefix)[0].argmax())) and len(prefix) <= 8:
        prefix += (symbol,)
    assert found.symbols == prefix[1:]


def test_each_source_is_searched_as_if_it_were_alone(model):
    texts = ["ab", "cabcab", "b", "aaaaab", "c"] * 2
    together = list(model.translate(texts, best=3, on_error="collect", max_length=9, coverage_penalty=0.2))
    for text, one in zip(texts, together, strict=True):
        (alone,) = model.translate([text], best=3, on_error="collect", max_length=9, coverage_penalty=0.2)
        assert (alone.text, alone.error) == (one.text, one.error)
        np.testing.assert_allclose(
            [c.score for c in alone.candidates], [c.score for c in one.candidates], rtol=0, atol=1e-5
        )
    assert any(one.ok for one in together)


def test_an_answer_that_does_not_end_is_an_error(model):
    bias = model.decoder.logits.bias
    kept = bias.numpy()
    bias.assign(kept - 50 * np.eye(len(kept))[0])
    try:
        with pytest.raises(ValueError, match="no end within 4 symbols"):
            model.translate("ab", max_length=4)
        (found,) = model.translate(["ab"], on_error="collect")
        assert not found.ok
        assert "no end within 5 symbols" in found.error
    finally:
        bias.assign(kept)


# ONNX and files


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 2), ("gru", 1), ("rnn", 1)])
def test_onnx_answers_as_keras_does(cell, layers):
    model = made(cell, layers=layers)
    session = SequenceSession(onnx_bytes(model), threads=1)
    assert (session.source, session.target, session.max_length) == (model.source, model.target, model.max_length)
    texts = ["ab", "cabcab", "b", "aaaaab", "c"]
    expected, found = (list(one.translate(texts, best=4, on_error="collect")) for one in (model, session))
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.error for one in found] == [one.error for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            [c.score for c in one.candidates], [c.score for c in other.candidates], rtol=0, atol=1e-5
        )
        if one.ok:
            np.testing.assert_allclose(one.attention, other.attention, rtol=0, atol=1e-5)
    assert sum(one.ok for one in found) > 1


def test_in_8_bits_no_answer_depends_on_its_neighbors(model):
    session = SequenceSession(onnx_bytes(model, int8=True), threads=1)
    texts = ["ab", "cabcab", "b"]
    together = list(session.translate(texts, on_error="collect"))
    for text, one in zip(texts, together, strict=True):
        (alone,) = session.translate([text], on_error="collect")
        assert (alone.text, alone.score) == (one.text, one.score)


def test_a_file_is_read_by_plain_keras_in_a_fresh_process(model, session, tmp_path):
    texts = ["ab", "b", "x", "cabcab", "aaaaab"]
    model.save(tmp_path / "m.keras")
    model.network.save(tmp_path / "network.keras")
    (tmp_path / "m.onnx").write_bytes(session.file.content)
    found = [one.text or one.error for one in model.translate(texts, on_error="collect")]
    assert any(one.ok for one in model.translate(texts, on_error="collect"))
    code = f"""
import speechrnn, keras
model = keras.saving.load_model(r"{tmp_path}/m.keras")
print([one.text or one.error for one in model.translate({texts}, on_error="collect")])
keras.saving.load_model(r"{tmp_path}/network.keras")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == str(found)
    code = f"""
import speechrnn, sys
session = speechrnn.load(r"{tmp_path}/m.onnx")
print([one.text or one.error for one in session.translate({texts}, on_error="collect")])
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == str(found)


def test_a_model_without_its_optimizer_is_the_same(model):
    again = model.with_parts()
    assert again.get_config() == model.get_config()
    batch = inputs(model, PAIRS)
    np.testing.assert_array_equal(again(batch, training=False), model(batch, training=False))


def test_streaming_and_other_formats_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="can be written to onnx only"):
        model.export(tmp_path / "m.savedmodel")
    with pytest.raises(ValueError, match="cannot be written as one step"):
        model.export(tmp_path / "m.onnx", streaming=True)


# Training


def words(count, rng):
    return ["".join(rng.choice(list("abcd"), rng.integers(1, 6))) for _ in range(count)]


def test_training_learns_to_turn_words_round(tmp_path, rng):
    pairs = [(word, word[::-1].upper()) for word in words(400, rng)]
    held = [(word, word[::-1].upper()) for word in words(60, rng)]
    keras.utils.set_random_seed(0)
    model = SequenceToSequence.for_manifest(pairs, units=32, attention=16, embedding=12, dropout=0.0)
    options = SequenceTraining(
        epochs=12, batch_size=20, learning_rate=1.5e-2, label_smoothing=0.05, scheduled_sampling=0.1, weight_decay=0.0
    )
    run = sr.train(model, pairs, valid=held, options=options, out=tmp_path / "turn.keras", verbose=False)
    report = run.model.evaluate([Pair(*pair) for pair in held])
    assert report.symbol_error_rate < 0.1
    assert run.history[-1]["val_symbol_error"] < 0.15 < run.history[0]["val_symbol_error"]
    best = next(row for row in run.history if row["epoch"] == run.best_epoch)
    assert best["val_symbol_error"] == min(row["val_symbol_error"] for row in run.history)
    # Attention of a model that turns round looks at the last letter first.
    found = run.model.translate("abcd")
    assert found.text == "DCBA"
    assert found.attention.argmax(axis=1).tolist() == [3, 2, 1, 0]


def test_the_loss_is_the_mean_over_valid_symbols_by_weight(model):
    task = SequenceTask(model, SequenceTraining(batch_size=4))
    weighted = [Pair(pair.source, pair.target, weight=w) for pair, w in zip(PAIRS, (1.0, 0.5, 0.0, 2.0), strict=True)]
    batches = task.batches(Split(weighted, training=True))
    x, y, weight = next(iter(batches))
    logits = np.asarray(model(x, training=False), np.float64)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = symbols = 0.0
    for row in range(4):
        truth = [int(symbol) for symbol in y[row] if symbol >= 0]
        assert truth[-1] == 0 and truth[:-1] == [int(symbol) for symbol in x["previous"][row]][1 : len(truth)]
        total -= float(weight[row]) * sum(logs[row, place, symbol] for place, symbol in enumerate(truth))
        symbols += float(weight[row]) * len(truth)
    assert float(task.loss(batches)(y, logits, weight)) == pytest.approx(total / symbols, rel=1e-5)


def test_guesses_are_drawn_by_seed_and_rise_with_the_epochs(model):
    def share(epoch):
        options = SequenceTraining(batch_size=4, epochs=5, scheduled_sampling=0.8)
        batches = SequenceTask(model, options).batches(Split(PAIRS * 30, training=True, epoch=epoch))
        return np.concatenate([x["guessed"].numpy().ravel() for x, _, _ in batches])

    assert share(0).mean() == 0
    assert 0.3 < share(2).mean() < 0.5
    assert 0.7 < share(4).mean() < 0.9
    np.testing.assert_array_equal(share(4), share(4))


def test_every_pair_is_scored_whatever_the_batch_size(model):
    task = SequenceTask(model, SequenceTraining(batch_size=3))
    scores = [task.scorer(task.batches(Split(pairs)))() for pairs in (PAIRS, [*PAIRS, *PAIRS])]
    assert scores[0].symbol_error == scores[1].symbol_error
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-5)
    batch = inputs(model, PAIRS)
    logits = np.asarray(model(batch, training=False), np.float64)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    truth = [[*model.target.encode(pair.target), 0] for pair in PAIRS]
    total = -sum(logs[row, place, symbol] for row, line in enumerate(truth) for place, symbol in enumerate(line))
    assert scores[0].loss == pytest.approx(total / sum(map(len, truth)), rel=1e-5)


# Evaluation


class Parrot:
    """Says what it is told to, whatever the network."""

    kind = "sequence to sequence"
    source, target, max_length = Vocabulary("abc"), Phones(["X", "Y", "Z"]), 5

    def __init__(self, answers):
        self.answers = answers

    def begin(self, sources):
        return {"row": np.array([hash(tuple(source)) for source in sources])}, {"place": np.zeros(len(sources), int)}

    def step(self, previous, memory, states):
        said = {hash(tuple(self.source.encode(k))): [*self.target.encode(v), 0] for k, v in self.answers.items()}
        logits = np.zeros((len(previous), 4))
        for row, (which, place) in enumerate(zip(memory["row"].tolist(), states["place"].tolist(), strict=True)):
            logits[row, said[which][min(place, len(said[which]) - 1)]] = 30.0
        return logits, np.ones((len(previous), 3)) / 3, {"place": states["place"] + 1}


def test_errors_are_counted_against_the_nearest_target():
    from speechrnn.tasks.sequence_to_sequence import evaluate

    parrot = Parrot({"ab": "X Y", "a": "X", "b": "Z Z"})
    pairs = [Pair("ab", "Z Z"), Pair("ab", "X Y"), Pair("a", "X"), Pair("b", "Y Z Y"), Pair("q", "X"), Pair("a", "W")]
    report = evaluate(parrot, pairs)
    assert [one.reference for one in report.sequences] == ["X Y", "X", "Y Z Y"]
    assert (report.symbols.errors, report.symbols.reference_length) == (2, 6)
    assert report.symbol_error_rate == pytest.approx(2 / 6)
    assert report.sequence_error_rate == pytest.approx(1 / 3)
    low, high = report.sequence_interval
    assert low < 1 / 3 < high
    assert [fault.kind for fault in report.faults] == ["with unknown symbols", "with unknown symbols"]
    told = report.to_dict(details=True)
    assert (told["symbols"], told["failed"], len(told["details"])) == (6, 2, 3)
    assert "symbol error 33.33 %" in str(report)
    assert "2 more FAILED" in str(report)


def test_a_report_prints_its_worst_sequences(capsys):
    from speechrnn.tasks.sequence_to_sequence import evaluate

    evaluate(Parrot({"ab": "X Y"}), [("ab", "X Z")]).print()
    assert "X Z" in capsys.readouterr().out


def test_a_target_that_the_decoder_can_never_write_is_a_fault_and_no_error_of_the_model():
    from speechrnn.tasks.sequence_to_sequence import evaluate

    report = evaluate(Parrot({"ab": "X Y", "b": "Z"}), [("ab", "X Y"), ("b", "Z Z Z Z Z Z")])
    assert (len(report.sequences), report.symbol_error_rate) == (1, 0.0)
    assert [fault.kind for fault in report.faults] == ["too long"] and "max_length=5" in str(report.faults[0])
    assert len(evaluate(Parrot({"ab": "X Y"}), [("ab", "X Y")], max_length=1).faults) == 1


# Bad input


def test_what_is_wrong_with_a_pair_is_collected_and_named(model):
    bad = [Pair("", "X"), Pair("ab", " "), Pair("aq", "X"), Pair("ab", "X W"), Pair("ab", "X Y X Y X Y", id="long")]
    faults = Faults()
    task = SequenceTask(model, None)
    batches = task.batches(Split([*bad, *PAIRS], training=True, faults=faults))
    assert sum(len(y) for _, y, _ in batches) == len(PAIRS)
    assert faults.counts() == {"empty": 2, "with unknown symbols": 2, "too long": 1}
    assert [fault.where for fault in faults] == ["pair 1", "pair 2", "pair 3", "pair 4", "long"]
    assert "'q'" in str(list(faults)[2])
    assert "max_length=5" in str(list(faults)[4])
    with pytest.raises(ValueError, match="Received none; pair 1: the source is empty"):
        task.batches(Split(bad, training=True))


def test_a_source_that_cannot_be_read_is_an_error_or_an_answer(model):
    with pytest.raises(ValueError, match="the source is empty"):
        model.translate(" ")
    with pytest.raises(ValueError, match="symbols that the model never saw: 'q'"):
        model.translate("aq")
    found = list(model.translate(["", "ab", "q"], on_error="collect"))
    assert [one.ok for one in found] == [False, found[1].ok, False]
    assert [one.path for one in found] == ["''", found[1].path, "'q'"]
    with pytest.raises(TypeError, match="Received: int"):
        list(model.translate([7], on_error="collect"))
    with pytest.raises(ValueError, match="`best` must be at most the beam's 4"):
        model.translate("ab", best=5)


def test_files_of_pairs(tmp_path, model):
    path = tmp_path / "pairs.tsv"
    path.write_text("ab\tX Y\n\nab X\nb\tY\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs.tsv:3: must be a source, a tab and a target"):
        pairing.read(path)
    faults = Faults()
    found = pairing.read(path, faults=faults)
    assert [(one.source, one.target) for one in found] == [("ab", "X Y"), ("b", "Y")]
    assert len(faults) == 1
    path.write_text("ab\tX Y\n")
    assert len(model.evaluate(path).sequences) + len(model.evaluate(path).faults) == 1
    manifest = [Example("a", 1, text="ab", extra={"target": "X Y"})]
    assert pairing.pairs_of(manifest)[0].target == "X Y"
    with pytest.raises(ValueError, match="`target` in `extra`"):
        pairing.pairs_of([Example("a", 1, text="ab")])
    with pytest.raises(ValueError, match="pair 2: must be a Pair"):
        pairing.pairs_of([("a", "b"), 3])


def test_options_are_checked():
    for wrong in ({"label_smoothing": 1.0}, {"scheduled_sampling": -0.1}, {"monitor": "wer"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SequenceTraining(**wrong)
    for wrong in ({"beam": 0}, {"length_penalty": -1.0}, {"max_length": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SearchOptions(**wrong)
    with pytest.raises(ValueError, match="at least one pair"):
        SequenceToSequence.for_manifest([])
    with pytest.raises(ValueError, match="must be one of characters, words, or a vocabulary"):
        SequenceToSequence.for_manifest(PAIRS, target="phones")


def test_a_network_that_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match="one for each target symbol and one for the end"):
        SequenceToSequence(model.network, model.source, Phones(["X"]), max_length=3)
    with pytest.raises(ValueError, match="The encoder must have 2 symbols"):
        SequenceToSequence(model.network, Vocabulary("a"), model.target, max_length=3)


# Pictures and defaults


def test_a_picture_of_attention_names_its_symbols():
    from speechrnn.report.plots import plot_attention

    figure = plot_attention(np.eye(3)[:2], "a b", ["X", "Y"], title="a b")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "\N{OPEN BOX}", "b"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["X", "Y"]
    np.testing.assert_array_equal(axes.images[0].get_array(), np.eye(3)[:2])
    with pytest.raises(ValueError, match="a row for each target symbol"):
        plot_attention(np.eye(3), "ab", "XYZ")


# The command line


def test_the_verbs_come_from_the_registry(session, model, tmp_path, capsys):
    from speechrnn import cli

    path, lines, pairs = tmp_path / "m.onnx", tmp_path / "texts.txt", tmp_path / "pairs.tsv"
    path.write_bytes(session.file.content)
    known = [
        text for text in ("ab", "b", "cab", "abcab", "aaa", "c") if next(model.translate([text], on_error="collect")).ok
    ]
    assert cli.main(["translate", known[0], "--model", str(path)]) == 0
    assert capsys.readouterr().out == f"{model.translate(known[0]).text}\n"
    lines.write_text("\n".join([*known, "q"]), encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"a\n\xe9\n")
    files = [str(tmp_path / name) for name in ("gone.txt", "latin.txt", "texts.txt")]
    assert cli.main(["translate", "--lines", *files, "--model", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "".join(f"{text}\t{model.translate(text).text}\n" for text in known)
    assert f"texts.txt:{len(known) + 1}: 'q'" in err and "never saw: 'q'" in err
    assert f"{files[0]}: there is no such file" in err and f"{files[1]}:2: must be text in UTF-8" in err
    assert cli.main(["translate", known[0], "--model", str(path), "--best", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    pairs.write_text(f"{known[0]}\tX Y\n{known[0]}\n", encoding="utf-8")
    assert cli.main(["evaluate", str(pairs), "--model", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert '"symbol_error_rate"' in out
    assert "pairs.tsv:2" in err


def test_a_word_of_the_lexicon_is_pronounced_as_it_says(session, model, tmp_path, capsys):
    from speechrnn import cli

    path, lexicon = tmp_path / "m.onnx", tmp_path / "words.txt"
    path.write_bytes(session.file.content)
    word = next(one.path for one in model.translate(["ab", "b", "cab", "aaa", "c"], on_error="collect") if one.ok)
    lexicon.write_text("hello HH AH\nhello HH EH\n", encoding="utf-8")
    given = ["--model", str(path), "--lexicon", str(lexicon)]
    assert cli.main(["pronounce", "Hello", word, "qu", *given]) == 1
    out, err = capsys.readouterr()
    assert out == f"hello\tHH AH\n{word}\t{model.translate(word).text}\n"
    assert "never saw: 'q' 'u'" in err
    assert cli.main(["pronounce", "hello", *given, "--best", "2", "--json"]) == 0
    assert capsys.readouterr().out == '{"word": "hello", "pronunciations": ["HH AH", "HH EH"]}\n'
    assert cli.main(["pronounce", word, "--lexicon", str(lexicon)]) == 1
    assert "is not in the lexicon" in capsys.readouterr().err
    assert cli.main(["pronounce", word, "--lexicon", str(lexicon), "--best", "0"]) == 2


# The recipe

SPELLED = ["".join(word) for word in itertools.product("abcd", repeat=4)]
LEXICON = Lexicon({word: [(tuple(word.upper()), 1.0), ((*word.upper(), "E"), 0.5)] for word in SPELLED})


def test_no_word_that_is_measured_was_learned():
    parts = recipe.split(LEXICON, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"test": 13, "dev": 2, "train": 241}
    assert len(set(itertools.chain(*parts.values()))) == len(SPELLED)
    assert list(parts["test"]) == list(recipe.split(LEXICON, seed=1)["test"]) != list(recipe.split(LEXICON)["test"])


@pytest.mark.slow
def test_letters_to_phones_is_learned_and_measured_beside_ngrams(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipe.lexicons, "cmudict", lambda: LEXICON)
    monkeypatch.setattr(recipe, "NETWORK", {"units": 8, "attention": 4, "embedding": 4})
    report = recipe.main(str(tmp_path), SequenceTraining(epochs=1, batch_size=32), seed=1)["test"]
    assert len(report.sequences) + len(report.faults) == 13
    assert {one.source for one in report.sequences} <= set(recipe.split(LEXICON, seed=1)["test"])
    out = capsys.readouterr().out
    assert "joint 6-grams, test" in out
    assert "both, dev" in out
    assert "both, test" in out
    assert "attention, beam 4, dev" in out
    assert "BSD" in sr.load(tmp_path / "english_pronunciation.onnx").card["license"]


# Its health


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_gradient_flow_through_the_decoder_is_that_of_finite_differences(cell):
    """The gradient in the state after a step, against the loss when that state is moved a little."""
    keras.utils.set_random_seed(0)
    network = attention_network(cell, source_size=5, target_size=4, units=3, attention=4, embedding=3, dropout=0.0)
    x = [np.array([[1, 2, 3]]), np.array([3]), np.array([[0, 1, 2, 0]]), np.array([3])]
    flow = diagnostics.gradient_flow(network, (x,), seed=3)
    assert list(flow) == ["bidirectional_0 forward", "bidirectional_0 backward", "recurrent"]
    found, decoder = flow["recurrent"].norms, network.get_layer("decoder")
    assert len(found) == 3  # the step in the padding counts for nothing
    weights = np.random.default_rng(3).normal(size=(1, 4)).astype("float32")
    known, begun = decoder.begin(network.get_layer("encoder")(x[:2]), x[1])

    def moved(run, state, place, by, *given, **more):
        after = [np.array(each) for each in keras.tree.flatten(run(*given, **more)[1])]
        after[state][0, place] += by
        return after[0], after

    def loss(step, state, place, by):
        states = begun
        for number, symbol in enumerate([0, 1, 2]):
            if number == step:
                decoder.recurrent.cell.call = functools.partial(moved, decoder.recurrent.cell.call, state, place, by)
            vector, _, states = decoder.step(np.array([symbol]), known, states)
            vars(decoder.recurrent.cell).pop("call", None)
        return float(np.sum(decoder.logits(vector).numpy() * weights))

    for lag in range(3):
        slopes = [
            (loss(2 - lag, state, place, 1e-2) - loss(2 - lag, state, place, -1e-2)) / 2e-2
            for state in range(2 if cell == "lstm" else 1)
            for place in range(3)
        ]
        assert found[lag] == pytest.approx(np.linalg.norm(slopes), rel=2e-2)


def test_the_doctor_says_that_the_decoder_runs_step_by_step(model):
    report = diagnostics.examine(model, batch_size=2, frames=4)
    decoder = report.layers[-1]
    assert (decoder.path.path, decoder.frames_per_second) == ("steps", None)
    assert decoder.path.reason.startswith("AttentionDecoder runs its cell") and not decoder.path.advice
    assert report.ok and report.layers[0].path.path in ("scan", "cudnn")


# The registry


def test_nothing_outside_the_folder_knows_this_kind():
    """But the line of the registry, and a verb that is there to use it.

    Loading, training, evaluating, exporting, `translate`, `train` and `evaluate` ask the registry. Recognizers with
    attention are made of the same decoder, its step and its search, and know no more of it.
    """
    folder = ROOT / "speechrnn" / "tasks" / "sequence_to_sequence"
    parts = re.compile(r"tasks\.sequence_to_sequence\.(layers|stepping|search|options|export)\b")
    names = ("sequence_to_sequence", "sequence to sequence", "SequenceToSequence", "encoder-decoder", '"translate"')
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "speechrnn").rglob("*.py")
        if folder not in path.parents
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(name in line for name in names)
        if not (path.parent.name == "recognition" and parts.search(line))
    ]
    assert sorted(lines) == [
        'speechrnn/cli/pronounce.py: return terminal.load_any(model, "sequence to sequence")',
        'speechrnn/models/kinds.py: "speechrnn.tasks.sequence_to_sequence",',
    ]
