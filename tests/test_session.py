"""Sessions: the same logits without TensorFlow, a cache of exports, clear words about files that are none of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from speechrnn import audio, cli, files, runtime
from speechrnn.export.writing import onnx_bytes
from speechrnn.features import LogMel
from speechrnn.models import loading
from speechrnn.models.loading import shipped
from speechrnn.runtime import onnxfile
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.session import RecognizerSession as Session
from speechrnn.text import Vocabulary

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model():
    features = LogMel(8000, num_mels=10, f_min=100)
    network = recurrent_ctc(num_features=10, vocabulary_size=5, units=5, layers=1, stack=2)
    return SpeechRecognizer(features, network, Vocabulary(" abc"), card={"name": "ünïcode", "license": "none"})


@pytest.fixture(scope="module")
def content(model):
    return onnx_bytes(model)


@pytest.fixture
def keras_file(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def changed(content, **properties):
    """The file with other metadata; None takes one away."""
    made = onnx.load_from_string(content)
    kept = {entry.key: entry.value for entry in made.metadata_props}
    kept |= {onnxfile.PREFIX + name: value for name, value in properties.items()}
    helper.set_model_props(made, {name: value for name, value in kept.items() if value is not None})
    return made.SerializeToString()


# What a file carries beside the network


def test_attachments_are_read_in_place_and_change_nothing(content, rng):
    parts = {"lexicon": rng.bytes(300_000), "empty": b"", "ünïcode": b"\x00\xff"}
    more = onnxfile.with_attachments(onnxfile.with_attachments(content, {"empty": b"x"}), parts)
    assert {name: bytes(part) for name, part in onnxfile.attachments(more).items()} == parts
    assert onnxfile.attachments(content) == {}
    signal = rng.normal(size=4000).astype("float32")
    np.testing.assert_array_equal(Session(more).logits([signal])[0], Session(content).logits([signal])[0])
    onnx.checker.check_model(onnx.load_from_string(more))
    with pytest.raises(ValueError, match="cut off or damaged"):
        Session(more[:-3])


# Independent of neighbors


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_answer_does_not_depend_on_its_neighbors(model, rng, precision):
    session = Session(onnx_bytes(model, int8=precision == "int8"), threads=2)
    signals = [
        (scale * rng.normal(size=size)).astype("f4") for scale, size in ((0.1, 4000), (3, 9000), (0.05, 2000), (1, 7))
    ]
    together = session.logits(signals)
    for signal, found in zip(signals, together, strict=True):
        np.testing.assert_allclose(session.logits([signal])[0], found, rtol=0, atol=0 if precision == "int8" else 1e-5)


# The same as Keras


def test_a_session_is_the_recognizer(model, content, rng):
    session = Session(content)
    assert session.vocabulary == model.vocabulary
    assert session.card == model.card
    assert (session.sample_rate, session.frame_period, session.stride) == (8000, 0.02, 2)
    signals = [rng.normal(size=n).astype("float32") for n in (8000, 4321, 300, 150, 0)]
    for ours, expected in zip(session.logits(signals), model.logits(signals), strict=True):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)
    for samples in (0, 199, 200, 279, 280, 4321):
        assert session.feature_frames(samples) == model.features.frame_count(samples)


def test_no_signals_and_signals_without_a_frame(content):
    session = Session(content)
    assert session.logits([]) == []
    assert [x.shape for x in session.logits([np.zeros(3, "float32"), np.zeros(0, "float32")])] == [(0, 5), (0, 5)]


def test_a_session_takes_threads_and_providers(content):
    assert Session(content, threads=1, providers=["CPUExecutionProvider"]).providers == ["CPUExecutionProvider"]
    with pytest.raises(ValueError, match="`threads` must be at least 1. Received: 0"):
        Session(content, threads=0)
    with pytest.raises(ValueError, match="Received: 'AbacusExecutionProvider'; here are .*CPUExecutionProvider"):
        Session(content, providers=["AbacusExecutionProvider"])


# Files that are none of ours


def test_files_that_are_no_model_are_named(content, tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(FileNotFoundError, match=r"m\.onnx: no such model file"):
        Session(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        Session(tmp_path)
    for junk in (b"RIFF of something else", b"\x00" * 64, os.urandom(512), b"PK\x03\x04"):
        path.write_bytes(junk)
        with pytest.raises(ValueError, match=r"m\.onnx: is not an ONNX model.*speechrnn export"):
            Session(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        Session(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(ValueError, match=r"m\.onnx: is a Git LFS pointer: run `git lfs pull`"):
        Session(path)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.99, 0.9999])
def test_a_file_that_is_cut_off_is_known_as_such(content, part):
    with pytest.raises(ValueError, match="is cut off or damaged. Copy it again"):
        Session(content[: int(len(content) * part)])


def test_another_programs_model_is_refused(content):
    properties = [entry.key.removeprefix(onnxfile.PREFIX) for entry in onnx.load_from_string(content).metadata_props]
    with pytest.raises(ValueError, match="was not written by speechrnn"):
        Session(changed(content, **dict.fromkeys(properties)))


def test_another_format_version_is_refused(content):
    with pytest.raises(ValueError, match="must be 1. Received: 2, written by speechrnn 9.9. Export the .keras"):
        Session(changed(content, format_version="2", version='"9.9"'))


def test_another_kind_of_model_is_refused(content):
    with pytest.raises(ValueError, match="must hold a recognizer of whole signals. Received: 'classifier'"):
        Session(changed(content, kind='"classifier"'))


def external(tensor, location="/etc/passwd"):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def in_an_initializer(graph):
    external(graph.initializer[0])


def in_a_node(graph):
    value = helper.make_tensor("x", TensorProto.FLOAT, [1], b"0000", raw=True)
    external(value)
    graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))


def in_a_branch(graph):
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])])
    branch.initializer.append(helper.make_tensor("b", TensorProto.FLOAT, [1], b"0000", raw=True))
    external(branch.initializer[0])
    graph.node.append(helper.make_node("If", ["c"], ["unused"], then_branch=branch, else_branch=branch))


@pytest.mark.parametrize("place", [in_an_initializer, in_a_node, in_a_branch])
def test_weights_in_other_files_are_refused(content, place):
    made = onnx.load_from_string(content)
    place(made.graph)
    with pytest.raises(ValueError, match="must hold its weights itself.*'/etc/passwd'. Do not trust it"):
        Session(made.SerializeToString())


def test_a_graph_that_cannot_run_is_a_clear_error(content):
    made = onnx.load_from_string(content)
    made.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ValueError, match=r"ONNX Runtime [\d.]+ cannot run it: .*NoSuchOperator"):
        Session(changed(made.SerializeToString(), digest=None))


# A `.keras` is exported once


def test_a_keras_file_is_exported_once_and_found_again(keras_file, cache, monkeypatch, rng, model):
    signals = [rng.normal(size=4000).astype("float32")]
    first = loading.load_session(keras_file)
    np.testing.assert_allclose(first.logits(signals)[0], model.logits(signals)[0], atol=1e-4)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(loading, "_exported", lambda path: pytest.fail("exported again"))
    moved = keras_file.rename(keras_file.with_name("moved.keras"))
    assert not loading.needs_tensorflow(moved)
    np.testing.assert_array_equal(loading.load_session(moved).logits(signals)[0], first.logits(signals)[0])


def test_another_content_is_exported_anew(keras_file, cache, model):
    loading.load_session(keras_file)
    SpeechRecognizer(model.features, model.network, model.vocabulary, card={"name": "other"}).save(keras_file)
    assert loading.load_session(keras_file).card == {"name": "other"}
    assert len(list(cache.iterdir())) == 2


def test_a_broken_export_in_the_cache_is_made_anew(keras_file, cache):
    loading.load_session(keras_file)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:5000])
    assert loading.load_session(keras_file).sample_rate == 8000
    assert Session(kept).sample_rate == 8000


def test_a_cache_that_cannot_be_written_costs_only_time(keras_file, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with caplog.at_level("INFO", "speechrnn"):
        assert loading.load_session(keras_file).sample_rate == 8000
    assert "is exported each time" in caplog.text


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv(files.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "speechrnn" / "models"


def test_a_file_that_is_neither_is_named(tmp_path, cache):
    (tmp_path / "a.keras").write_bytes(b"not a zip archive")
    with pytest.raises(ValueError, match=r"a\.keras: is not a \.keras model, or is cut off"):
        loading.load_session(tmp_path / "a.keras")
    (tmp_path / "a.onnx").write_bytes(b"not onnx either")
    with pytest.raises(ValueError, match=r"a\.onnx: is not an ONNX model"):
        loading.load_session(tmp_path / "a.onnx")


# Without TensorFlow

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "librosa", "onnx", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocker())
from speechrnn.cli import main
"""


def without_tensorflow(code, cache):
    environment = {**os.environ, files.CACHE_VARIABLE: str(cache)}
    command = [sys.executable, "-c", BLOCKED + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_transcribing_and_evaluating_need_no_tensorflow(content, tmp_path, rng, cache):
    (tmp_path / "m.onnx").write_bytes(content)
    audio.write(tmp_path / "a.wav", rng.uniform(-0.1, 0.1, 9000), 8000)
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "duration": 1.125, "text": "a b"}\n')
    code = f"""
import os; os.chdir({str(tmp_path)!r})
codes = [main(["transcribe", "a.wav", "--model", "m.onnx", "--json"]), main(["transcribe", "a.wav"]),
         main(["evaluate", "m.jsonl", "--model", "m.onnx", "--json"]),
         main(["check-manifest", "m.jsonl", "--model", "m.onnx"])]
assert not {{"tensorflow", "keras", "onnx"}} & set(sys.modules)
sys.exit(max(codes))
"""
    done = without_tensorflow(code, cache)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["duration"] == 1.125
    told = [line for line in done.stderr.splitlines() if not line.startswith("compiling the search")]  # once
    assert [line.split(": ")[1] for line in told] == [
        "a.wav is at 8000 Hz, the model at 16000 Hz. It is resampled, as are all other files at that rate."
    ]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["transcribe", "a.wav", "--model", "{keras}"], "a .keras model needs TensorFlow"),
        (["train", "{manifest}", "--out", "x.keras"], "speechrnn train needs TensorFlow"),
        (["export", "--model", "{keras}"], "speechrnn export needs TensorFlow"),
    ],
)
def test_what_needs_tensorflow_says_how_to_install_it(words, what, keras_file, tmp_path, cache):
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "duration": 1.0, "text": "a"}\n')
    names = {"keras": str(keras_file), "manifest": str(tmp_path / "m.jsonl")}
    done = without_tensorflow(f"sys.exit(main({[word.format(**names) for word in words]!r}))", cache)
    assert done.returncode == 2
    assert what in done.stderr
    assert "Install it: pip install 'speechrnn[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_default_model_is_one_file_without_tensorflow():
    assert shipped().suffix == ".onnx"
    assert not loading.is_keras(shipped())


# The verb


def test_export_prints_what_it_wrote(keras_file, tmp_path, capsys):
    assert cli.main(["export", "--model", str(keras_file), "--out", str(tmp_path / "x.onnx")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.onnx'}\n"
    assert Session(tmp_path / "x.onnx").sample_rate == 8000
    assert cli.main(["export", "--model", str(keras_file), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["export", "--model", str(tmp_path / "none.keras")]) == 2
    assert "none.keras: no such model file" in capsys.readouterr().err


def message(number, content):
    """A field of a protocol buffer that holds bytes."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def nested(depth):
    """An ONNX file of graphs within the attributes of nodes of graphs."""
    graph = b""
    for _ in range(depth):
        graph = message(1, message(5, message(6, graph)))
    return b"\x08\x08" + message(7, graph)


@pytest.mark.parametrize("content", [nested(600), nested(20_000), b"\x08\x08" + message(7, b"\x08\x01" * 1_100_000)])
def test_a_file_that_is_made_to_take_long_is_refused_at_once(content):
    with pytest.raises(ValueError, match="no model of ours has"):
        Session(content)


def test_a_damaged_weight_is_known(content):
    made = onnx.load_from_string(content)
    weight = max(made.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    at = content.index(weight.raw_data)
    with pytest.raises(ValueError, match="is damaged: its weights are not those that were written"):
        Session(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize(
    ("key", "value"), [("card", None), ("vocabulary", "[]"), ("window", '"x"'), ("sample_rate", None)]
)
def test_metadata_that_make_no_sense_are_the_files_fault(content, key, value):
    with pytest.raises(ValueError, match="The model: "):
        Session(changed(content, **{key: value}))


def test_what_sessions_have_in_common_opens_nothing_and_says_what_does():
    with pytest.raises(TypeError, match=r"Use speechrnn\.load\(path\)"):
        runtime.Session("model.onnx")
