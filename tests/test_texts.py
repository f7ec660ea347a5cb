"""Classifiers of texts: documents, strings of symbols, streams of clicks."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import speechrnn as sr
from speechrnn.cli import main
from speechrnn.data.manifest import Example
from speechrnn.data.texts import text_example
from speechrnn.faults import Faults
from speechrnn.features import Symbols
from speechrnn.tasks.classification import ClassifierTraining, SequenceClassifier, recurrent_classifier
from speechrnn.text.tokens import Tokens

GOOD, BAD = ("great", "love", "nice"), ("awful", "hate", "broken")


def review(rng, kind):
    """Some words without a meaning, and one that tells."""
    words = [*rng.choice(["the", "phone", "movie", "was", "i", "it"], rng.integers(2, 7)), rng.choice(kind)]
    return " ".join(rng.permutation(words))


def reviews(count, seed):
    rng = np.random.default_rng(seed)
    kinds = [(GOOD, "good"), (BAD, "bad")]
    return [
        text_example(review(rng, kinds[i % 2][0]), kinds[i % 2][1], unit="words", id=f"{seed}-{i}")
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    keras.utils.set_random_seed(0)
    examples = reviews(240, 1)
    model = SequenceClassifier.for_manifest(examples, units=16, embedding=16, dropout=0.0)
    options = ClassifierTraining(epochs=6, batch_size=16, learning_rate=1e-2)
    out = tmp_path_factory.mktemp("texts") / "reviews.keras"
    return sr.train(model, examples, valid=reviews(40, 2), options=options, out=out, verbose=False).path


@pytest.fixture(scope="module")
def session(trained):
    path = trained.replace(".keras", ".onnx")
    sr.load(trained).export(path)
    return sr.load(path)


def test_tokens_are_numbered_and_unseen_ones_share_the_last_number():
    tokens = Tokens.from_texts(["b a a", "c b A"], unit="items", least=2)
    assert tokens.symbols == ("a", "b") and len(tokens) == 4
    assert tokens.encode("C a b zzz A") == [3, 1, 2, 3, 1]
    assert Tokens.from_texts(["AcgT"], unit="characters", lowercase=False).symbols == ("A", "T", "c", "g")
    again = Tokens(**json.loads(json.dumps(tokens.get_config())))
    assert again.encode("b x a") == tokens.encode("b x a")
    with pytest.raises(ValueError, match=r"one of words, characters, items. Received: unit='lines'"):
        Tokens(["a"], unit="lines")
    with pytest.raises(ValueError, match="'a' twice"):
        Tokens(["a", "a"], unit="items")


def test_it_learns_and_answers_for_texts_files_and_examples(trained, tmp_path):
    model = sr.load(trained)
    assert model.classify("I love the movie").label == "good"
    found = list(model.classify(["the movie was awful", "nice", "it was a great phone !!"]))
    assert [one.label for one in found] == ["bad", "good", "good"]
    assert found[0].path == "the movie was awful" and found[0].duration == 4
    file = tmp_path / "one.txt"
    file.write_text("it was\nbroken", encoding="utf-8")
    assert model.classify(file).label == "bad"
    report = model.evaluate(reviews(60, 3))
    assert report.accuracy >= 0.95 and not report.faults


def test_the_export_answers_as_the_model_and_needs_no_more_than_the_file(trained, session):
    model, texts = sr.load(trained), [example.text for example in reviews(9, 4)]
    for mine, theirs in zip(model.classify(texts), session.classify(texts), strict=True):
        np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-5)
    assert session.classify("Love it").label == "good"  # capital letters as in training


def test_in_eight_bits_an_answer_does_not_depend_on_the_others(trained, tmp_path):
    path = tmp_path / "small.onnx"
    sr.load(trained).export(path, int8=True)
    small, texts = sr.load(path), [example.text for example in reviews(6, 5)]
    together = list(small.classify(texts))
    for text, one in zip(texts, together, strict=True):
        # Not to the last bit: some processors sum the steps of a longer, padded batch in another order.
        np.testing.assert_allclose(small.classify(text).probabilities, one.probabilities, rtol=1e-6, atol=0)
        assert one.label == ("good" if set(text.split()) & set(GOOD) else "bad")


def test_padding_never_changes_an_answer():
    network = recurrent_classifier(num_features=1, num_classes=3, symbols=9, embedding=4, units=5)
    rng = np.random.default_rng(0)
    lengths = np.array([7, 4, 1], "int32")
    numbers = rng.integers(1, 9, (3, 7, 1)).astype("float32")
    for row, length in enumerate(lengths):
        numbers[row, length:] = np.nan
    batched = network([numbers, lengths]).numpy()
    for row, length in enumerate(lengths):
        alone = network([numbers[row : row + 1, :length], lengths[row : row + 1]]).numpy()[0]
        np.testing.assert_allclose(batched[row], alone, atol=1e-6)


def test_a_network_without_the_right_embedding_is_refused():
    layer = Symbols(["a", "b"], unit="items")
    network = recurrent_classifier(num_features=1, num_classes=2, symbols=3, units=4)
    with pytest.raises(ValueError, match=r"one, of 4 tokens, to|embeddings of \[3\]"):
        SequenceClassifier(layer, network, ["x", "y"])
    with pytest.raises(ValueError, match="one feature, the number of a token"):
        recurrent_classifier(num_features=2, num_classes=2, symbols=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no words. Leave it out"),
        ("  \n", "has no words. Leave it out"),
        ("это очень хорошо", "never saw any of its 3 words, the first of which is 'это'. Is it in another language"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(session, text, message):
    with pytest.raises(ValueError, match=message):
        session.classify(text)
    answers = list(session.classify(["love", text], on_error="collect"))
    assert answers[0].ok and message in answers[1].error


def test_a_stream_of_one_click_is_classified():
    clicks = [text_example(f"/{page}", page, unit="items", id=f"{page}{i}") for i in range(8) for page in ("a", "b")]
    model = SequenceClassifier.for_manifest(clicks, units=4, embedding=4)
    assert model.tokens.symbols == ("/a", "/b")
    answer = model.classify("/a")
    assert answer.duration == 1 and answer.probabilities.sum() == pytest.approx(1)


def test_texts_are_neither_mixed_nor_augmented_nor_cut_into_several_things(tmp_path):
    examples = reviews(8, 6)
    model = SequenceClassifier.for_manifest(examples, units=4)
    with pytest.raises(ValueError, match="Texts cannot be mixed"):
        sr.train(model, examples, options=ClassifierTraining(mixup=0.2), out=tmp_path / "a.keras", verbose=False)
    with pytest.raises(ValueError, match="Texts are not augmented"):
        sr.train(model, examples, augment="speech", out=tmp_path / "b.keras", verbose=False)
    other = text_example("a b", "good", unit="items")
    with pytest.raises(ValueError, match="must all be cut into the same"):
        SequenceClassifier.for_manifest([*examples, other])
    with pytest.raises(ValueError, match="must all be cut into the same"):
        SequenceClassifier.for_manifest([*examples, Example("a.wav", 1.0, label="bad")])


def table(folder, name, content):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_a_table_becomes_manifests_that_share_no_text(tmp_path):
    rows = [f'"text {i % 20}, and more",{"yn"[i % 2]}' for i in range(60)]
    path = table(tmp_path, "t.csv", "words,kind\n" + "\n".join(rows))
    columns = {"text_column": "words", "label_column": "kind", "unit": "words"}
    parts = sr.prepare("texts", path, out=tmp_path / "m", valid_fraction=0.2, test_fraction=0.2, **columns)
    assert sorted(parts) == ["test", "train", "valid"] and sum(map(len, parts.values())) == 60
    texts = {name: {example.text for example in part} for name, part in parts.items()}
    assert (
        not texts["train"] & texts["test"]
        and not texts["train"] & texts["valid"]
        and not texts["test"] & texts["valid"]
    )
    first = parts["train"][0]
    assert first.duration == 5 and first.extra == {"unit": "words"} and first.label in ("y", "n")
    path.unlink()  # the manifest has the texts
    model = SequenceClassifier.for_manifest(parts["train"], units=4)
    assert model.evaluate(str(tmp_path / "m" / "valid.jsonl")).records


def test_rows_that_cannot_be_used_are_named(tmp_path):
    path = table(tmp_path, "t.tsv", "ham\tfine\nspam\t \n\tno class\nham\tone\ttoo many\nspam\tbuy\n")
    how = {"text_column": "text", "label_column": "kind", "unit": "words", "columns": ("kind", "text")}
    faults = Faults()
    parts = sr.prepare("texts", path, out=tmp_path / "m", faults=faults, **how)
    assert [example.text for example in parts["train"]] == ["fine", "buy"]
    told = [str(fault) for fault in faults]
    assert len(told) == 3 and "has no words" in " ".join(told) and "column `kind` is empty" in " ".join(told)
    with pytest.raises(ValueError, match="has no column `txt`. Did you mean `text`"):
        sr.prepare("texts", path, out=tmp_path / "n", **{**how, "text_column": "txt"})


def test_from_a_table_to_classes_on_the_command_line(tmp_path, capsys):
    rows = "\n".join(f"{example.text}\t{example.label}" for example in reviews(64, 7))
    path = table(tmp_path, "t.tsv", f"text\tlabel\n{rows}\n")
    words = ["--text-column", "text", "--label-column", "label", "--unit", "words", "--valid-fraction", "0.2"]
    assert main(["prepare", "texts", str(path), "--out", str(tmp_path), *words]) == 0
    out = str(tmp_path / "m.keras")
    made = ["--epochs", "2", "--units", "4", "--embedding", "4", "--learning-rate", "0.01", "--least", "2"]
    manifests = [str(tmp_path / "train.jsonl"), "--valid", str(tmp_path / "valid.jsonl")]
    assert main(["train", "--task", "classify", *manifests, "--out", out, *made]) == 0
    capsys.readouterr()
    lines = table(tmp_path, "lines.txt", "i love it\n\nthe phone was broken\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    files = [str(tmp_path / "latin.txt"), str(lines), str(tmp_path / "gone.txt")]
    assert main(["classify", "--model", out, "--lines", *files]) == 1  # one line is empty
    printed = capsys.readouterr()
    assert f"{files[0]}:1: must be text in UTF-8" in printed.err and f"{files[2]}" in printed.err
    told = [line.split("\t") for line in printed.out.splitlines()]
    assert [row[0] for row in told] == [f"{lines}:1", f"{lines}:3"] and told[0][1] in ("good", "bad")
    assert f"speechrnn: {lines}:2: has no words. Leave it out.\n" in printed.err
    assert main(["classify", "--model", out, files[2]]) == 1
    assert f"speechrnn: {files[2]}: there is no such file. Check the path.\n" in capsys.readouterr().err
    assert main(["classify", "--model", out, str(lines)]) == 0  # the whole file as one text
    assert capsys.readouterr().out.startswith(f"{Path(lines)}\t")
    assert main(["evaluate", "--model", out, str(tmp_path / "valid.jsonl")]) == 0
