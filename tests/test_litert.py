"""LiteRT: the same steps with built-in operators alone, in 8 bits too, and clear words about other files."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_streaming import MODELS, RATE, made

from speechrnn.export.litert import litert_bytes
from speechrnn.export.writing import export, exporter_of, onnx_bytes
from speechrnn.models import loading
from speechrnn.runtime.litert import METADATA
from speechrnn.tasks.recognition.streaming import StreamingSession

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def spoken():
    return np.random.default_rng(3).normal(size=5900).astype("float32")


@pytest.fixture(scope="module")
def content():
    model = made(layers=1, convolutions=1)
    return litert_bytes(model, exporter_of(model))


@pytest.mark.parametrize(
    "name", ["convolutions", "one convolution, stacked", "look-ahead", "cepstra with high-pass filter"]
)
def test_steps_are_those_of_onnx_at_every_end(name, spoken):
    model = MODELS[name]()
    ours, other = (
        StreamingSession(litert_bytes(model, exporter_of(model))),
        StreamingSession(onnx_bytes(model, streaming=True)),
    )
    hop = model.features.hop
    signals = [spoken, spoken[:0], spoken[:99], *(spoken[: 4000 + frames * hop] for frames in range(model.stride))]
    for found, expected in zip(ours.logits(signals), other.logits(signals), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_only_built_in_operators(content):
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    assert codes and schema.BuiltinOperator.CUSTOM not in codes


def test_8_bit_weights_are_smaller_and_nearly_the_same(spoken):
    model = made(units=64, layers=1)
    full, small = (litert_bytes(model, exporter_of(model), int8=int8) for int8 in (False, True))
    assert len(small) < 0.6 * len(full)
    exact, near = (StreamingSession(content).logits([spoken])[0] for content in (full, small))
    assert 0 < np.abs(exact - near).max() < 0.2 * np.abs(exact).max()


def test_it_is_exported_loaded_and_listens_like_the_others(tmp_path, spoken):
    path = export(made(layers=1), tmp_path / "a.tflite", to="litert")
    for session in (loading.load_session(path), loading.load_session(path, streaming=True)):
        assert isinstance(session, StreamingSession)
        assert session.sample_rate == RATE and session.providers == []
        session.push(spoken)
        session.finish()
    with pytest.raises(FileExistsError):
        export(made(layers=1), path, to="litert")


def test_threads_take_turns(content, spoken):
    session = StreamingSession(content)
    signals = [spoken[: 900 * count] for count in range(1, 7)]
    expected = session.logits(signals)
    with ThreadPoolExecutor(6) as pool:
        for found, one in zip(
            pool.map(lambda signal: session.logits([signal])[0], signals * 8), expected * 8, strict=True
        ):
            np.testing.assert_array_equal(found, one)


def test_two_directions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot stream"):
        export(made(layers=1, bidirectional=True), tmp_path / "a.tflite", to="litert")


def test_files_of_others_are_refused(content, tmp_path):
    with pytest.raises(ValueError, match="cut off"):
        StreamingSession(content[: len(content) // 2])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        about = json.loads(archive.read(METADATA))
    behind = io.BytesIO()
    with zipfile.ZipFile(behind, "w") as archive:
        archive.writestr(METADATA, json.dumps({**about, "speechrnn.format_version": "9"}))
    with pytest.raises(ValueError, match="version 9"):
        StreamingSession(content + behind.getvalue())
    with pytest.raises(FileNotFoundError, match=r"gone\.tflite"):
        StreamingSession(tmp_path / "gone.tflite")
