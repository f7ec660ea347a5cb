"""The verbs for classifiers: `classify`, and `evaluate` of either kind."""

import json
import sys

import numpy as np
import pytest
from fakes import Leveller, Speller
from test_classification import save

from speechrnn import cli
from speechrnn.cli import terminal
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.models.loading import open_model


@pytest.fixture
def model(monkeypatch):
    found = Leveller()
    monkeypatch.setattr(terminal, "load_any", lambda path, kind=None: found)
    return found


@pytest.fixture
def files(tmp_path):
    return [save(tmp_path / f"{i}.npz", [i]) for i in range(3)]


def test_a_line_for_each_file(model, files, capsys):
    assert cli.main(["classify", "--model", "any.onnx", *files]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [[path, name, "0.867"] for path, name in zip(files, "abc", strict=True)]


def test_an_object_for_each_file(model, files, capsys):
    assert cli.main(["classify", "--model", "any.onnx", *files, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["label"] for entry in found] == ["a", "b", "c"]
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_line_for_each_stretch_of_equal_class(model, tmp_path, capsys):
    model.per_frame = True
    path = save(tmp_path / "a.npz", [2, 0])
    assert cli.main(["classify", "--model", "any.onnx", path]) == 0
    assert capsys.readouterr().out == f"{path}\t0.000\t0.500\tc\t0.867\n{path}\t0.500\t1.000\ta\t0.867\n"
    assert cli.main(["classify", "--model", "any.onnx", path, "--json", "--details"]) == 0
    assert len(json.loads(capsys.readouterr().out)["probabilities"]) == 10


def test_a_file_that_cannot_be_read_is_named_and_the_others_classified(model, files, tmp_path, capsys):
    assert cli.main(["classify", "--model", "any.onnx", files[0], str(tmp_path / "gone.npz"), files[1]]) == 1
    out, err = capsys.readouterr()
    assert [line.split("\t")[1] for line in out.splitlines()] == ["a", "b"]
    assert "gone.npz" in err
    assert "1 of 3 files failed: 1 missing." in err


def test_a_manifest_that_cannot_be_read_does_not_end_the_run(model, files, tmp_path, capsys):
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"path": "{files[0]}", "duration": 0.5}}\n{{"path": 1}}\n')
    given = [str(tmp_path / "gone.jsonl"), str(path), files[1]]
    assert cli.main(["classify", "--model", "any.onnx", *given]) == 1
    out, err = capsys.readouterr()
    assert [line.split("\t")[1] for line in out.splitlines()] == ["a", "b"]
    assert "gone.jsonl: there is no such" in err and f"{path}:2" in err and "2 of 4 files failed" in err


def test_a_record_of_many_and_a_rate_that_the_file_lacks(model, tmp_path, capsys):
    model.channels = 1
    path = tmp_path / "set.tsv"
    path.write_text("".join("\t".join(map(str, [9, *[level] * 20])) + "\n" for level in (0, 1, 2)))
    assert cli.main(["classify", "--model", "any.onnx", str(path), "--row", "2", "--rate", "50"]) == 0
    assert capsys.readouterr().out.split("\t")[1] == "c"


def test_a_reader_that_is_not_installed_ends_nothing(model, files, tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n3,4\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert cli.main(["classify", "--model", "any.onnx", str(path), *files]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(files)
    assert f"{path}: cannot be read without a library" in err and 'pip install "speechrnn[signals]"' in err


def test_how_a_table_is_written_is_said_by_options(model, tmp_path, capsys):
    model.channels = 1
    path = tmp_path / "t.csv"
    path.write_text("time;x\n" + "".join(f"{20 * i};{'2,000' if i % 2 else 'ERR'}\n" for i in range(1, 40)))
    assert cli.main(["classify", "--model", "any.onnx", str(path)]) == 1
    assert "say `decimal` or `thousands`" in capsys.readouterr().err
    words = ["--time-unit", "ms", "--decimal", ",", "--missing", "ERR"]
    assert cli.main(["classify", "--model", "any.onnx", str(path), *words]) == 0
    assert capsys.readouterr().out.split("\t")[1] == "c"


@pytest.mark.parametrize(
    ("words", "model", "said"),
    [
        (["classify", "--model", "words.onnx"], Speller, "must be a classifier. Received: a recognizer"),
        (["transcribe", "--model", "beats.onnx"], Leveller, "must be a recognizer. Received: a classifier"),
    ],
)
def test_a_recognizer_does_not_classify_nor_the_other_way(words, model, said, monkeypatch, files, capsys):
    monkeypatch.setattr("speechrnn.models.loading.load_session", lambda path, kind=None: open_model(model(), kind))
    monkeypatch.setattr("speechrnn.models.loading.needs_tensorflow", lambda path, **options: False)
    assert cli.main([*words, *files]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def corpus(tmp_path, files):
    path = tmp_path / "m.jsonl"
    labels = zip(files, ("a", "b", "b"), strict=True)
    manifest.write(path, [Example(f, 0.5, label=k, subject=f"p{i}") for i, (f, k) in enumerate(labels)])
    return str(path)


def test_evaluate_reports_classes_of_a_classifier(model, corpus, capsys):
    assert cli.main(["evaluate", "--model", "any.onnx", corpus, "--per-subject"]) == 0
    out = capsys.readouterr().out
    assert "accuracy 66.67 %" in out
    assert "p2" in out
    assert cli.main(["evaluate", "--model", "any.onnx", corpus, "--json", "--details", "--seed", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == 2 / 3
    assert [entry["predicted"] for entry in found["details"]] == ["a", "b", "c"]


def test_evaluate_names_what_it_could_not_score(model, corpus, files, tmp_path, capsys):
    examples = [*manifest.read(corpus), Example(files[0], 0.5, label="z", id="strange")]
    manifest.write(corpus, examples, overwrite=True)
    assert cli.main(["evaluate", "--model", "any.onnx", corpus]) == 1
    out, err = capsys.readouterr()
    assert "1 more FAILED" in out
    assert "must be one of a, b, c. Received: 'z'" in err
    assert "1 of 4 examples failed" in err


@pytest.mark.parametrize("words", [["--normalize-texts"], ["--batch-seconds", "5"], ["--beam", "8"]])
def test_options_of_a_recognizer_are_refused_for_a_classifier(model, corpus, words, capsys):
    assert cli.main(["evaluate", "--model", "any.onnx", corpus, *words]) == 2
    assert f"{words[0]}: an option of --task transcribe, not of --task classify." in capsys.readouterr().err


def test_options_of_a_classifier_are_refused_for_a_recognizer(monkeypatch, corpus, capsys):
    monkeypatch.setattr(terminal, "load_any", lambda path, kind=None: Speller())
    assert cli.main(["evaluate", "--task", "transcribe", corpus, "--scheme", "aami"]) == 2
    assert "--scheme: an option of --task classify, not of --task transcribe" in capsys.readouterr().err


def test_figures_of_a_classifier_are_drawn(rng):
    pytest.importorskip("matplotlib")
    from speechrnn.report import plots

    matrix = np.array([[8, 2], [0, 5]])
    axes = plots.plot_confusion(matrix, ("a", "b")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["8\n80%", "2\n20%", "5\n100%"]
    wide = plots.plot_confusion(np.diag(range(9)), ["a class with a long name"] * 9)
    assert [text.get_text() for text in wide.axes[0].texts] == [str(count) for count in range(1, 9)]
    assert wide.get_figwidth() > 7 > plots.plot_confusion(matrix, ("a", "b")).get_figwidth()
    with pytest.raises(ValueError, match="2 x 2. Received"):
        plots.plot_confusion(matrix[:1], ("a", "b"))

    from speechrnn.metrics import reliability

    confidences = rng.uniform(0.5, 1, 400)
    figure = plots.plot_reliability({"all": reliability(confidences, rng.random(400) < confidences)})
    assert sum(patch.get_height() for patch in figure.axes[1].patches) == 400

    scores = np.eye(3)[[0, 0, 1, 2]] * 0.7 + 0.1
    figure = plots.plot_record(
        rng.normal(size=(200, 2)), 50, scores, ("a", "b", "c"), frame_period=1.0, truth=np.array([0, 1, 1, -1])
    )
    figure.canvas.draw()
    assert figure.axes[2].get_xlim() == (0, 4)
    assert len(figure.axes[0].lines) == 2
    (band,) = figure.axes[1].collections  # every frame has its color, what is not known has none
    assert band.get_array().filled(-1).tolist() == [[0, 0, 1, 2], [0, 1, 1, -1]]


def test_a_record_of_more_classes_than_colors_shows_the_likeliest(rng):
    pytest.importorskip("matplotlib")
    from speechrnn.report import plots

    scores = rng.dirichlet(np.r_[np.full(12, 5), np.full(8, 0.5)], size=50)
    names = [f"class {k}" for k in range(20)]
    figure = plots.plot_record(rng.normal(size=100), 2, scores, names, frame_period=1.0, truth=np.full(50, 19))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*names[:12], "8 others"]
    assert figure.axes[1].collections[0].get_array()[1].tolist() == [12] * 50
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in figure.axes[2].collections]
    assert tops[-1] == pytest.approx(1, abs=1e-6)  # nothing is left out
