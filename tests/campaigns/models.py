"""Damaged and hostile models: `.keras`, `.onnx` and `.tflite` files give what they gave before, or are refused by name.

`python -m tests.campaigns.models --count 2000 --seed 0` tries them; a finding is printed with the words that make its
file again. A damaged file that is read must give the logits that it gave before.
"""

import functools
import importlib.util
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

from speechrnn.models import loading
from speechrnn.runtime import onnxfile
from tests.campaigns.harness import WrongError, damage, main

KINDS = ["keras", "keras-hostile", "onnx", "onnx-streaming", "onnx-hostile", "onnx-edited"]
if importlib.util.find_spec("ai_edge_litert"):
    KINDS.append("tflite")
_SIGNAL = 0.1 * np.sin(np.arange(3000, dtype="float32") / 9)


def warm(folder: Path) -> None:
    """Make the whole files, and run each once."""
    for kind in ("keras", "onnx", "onnx-streaming", *KINDS[6:]):
        path = folder / _name(kind)
        path.write_bytes(_whole()[kind])
        _logits(path)


def attempt(kind: str, seed: int, folder: Path) -> None:
    """Make a model of a kind, damage it, open and run it.

    Raises:
        WrongError: It gives something else.
        ValueError, OSError: It was refused.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    path = folder / _name(kind)
    if kind in _HOSTILE:
        path.write_bytes(_HOSTILE[kind](rng))
        _logits(path)
        if kind != "onnx-edited":
            raise WrongError("it was opened")
        return
    content, _ = damage(rng, _whole()[kind])
    path.write_bytes(content)
    found = _logits(path)
    if found.shape != _expected(kind).shape or not np.allclose(found, _expected(kind), rtol=0, atol=1e-5):
        raise WrongError("its logits are others")


def _name(kind: str) -> str:
    return f"m.{kind.partition('-')[0]}"


def _logits(path: Path) -> np.ndarray:
    return np.asarray(loading.load(path, kind="recognizer").logits([_SIGNAL])[0])


@functools.cache
def _expected(kind: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _name(kind))
        path.write_bytes(_whole()[kind])
        return _logits(path)


@functools.cache
def _whole() -> dict[str, bytes]:
    """The content of a whole file of each kind."""
    from speechrnn import LogMel, SpeechRecognizer, Vocabulary, recurrent_ctc

    features = LogMel(8000, num_mels=8, normalize=None)
    network = recurrent_ctc(num_features=8, vocabulary_size=4, units=4, layers=1, stack=2, bidirectional=False)
    model = SpeechRecognizer(features, network, Vocabulary(" ab"))
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "m.keras")
        model.export(folder / "m.onnx")
        model.export(folder / "s.onnx", streaming=True)
        found = {"keras": "m.keras", "onnx": "m.onnx", "onnx-streaming": "s.onnx"}
        if "tflite" in KINDS:
            model.export(folder / "m.tflite", format="litert")
            found["tflite"] = "m.tflite"
        return {kind: (folder / file).read_bytes() for kind, file in found.items()}


# -------------------------------------------------------------------------------------------------- made to harm


def _hostile_keras(rng: np.random.Generator) -> bytes:
    """Code, other files, paths outside, and bombs."""
    with zipfile.ZipFile(io.BytesIO(_whole()["keras"])) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    kind = int(rng.integers(7))
    if kind < 3:
        layers = config["config"]["network"]["config"]["layers"]
        one = layers[int(rng.integers(len(layers)))]
        one["class_name"], one["module"], one["registered_name"] = [
            ("Lambda", "keras.layers", None), ("StringLookup", "keras.layers", None), ("system", "os", None),
        ][kind]  # fmt: skip
        one["config"] = [{"function": {"class_name": "__lambda__"}}, {"vocabulary": "/etc/passwd"}, {}][kind]
        entries["config.json"] = json.dumps(config).encode()
    elif kind == 3:
        entries["../" * int(rng.integers(1, 9)) + "outside"] = b"x"
    elif kind == 4:
        entries["assets/bomb"] = bytes(int(rng.integers(40, 200)) << 20)
    elif kind == 5:
        entries["config.json"] = b'{"a":' * int(rng.integers(10_000, 500_000))
    else:
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            if rng.random() < 0.5:
                file["layers"] = h5py.ExternalLink("/etc/weights.h5", "/")
            else:
                file.create_dataset("vars/0", (int(rng.integers(1, 99)) << 24,))
        entries["model.weights.h5"] = out.getvalue()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return made.getvalue()


def _hostile_onnx(rng: np.random.Generator) -> bytes:
    """Weights in other files, graphs within graphs, fields without end."""
    kind = int(rng.integers(4))
    if kind == 0:
        model = onnx.load_from_string(_whole()["onnx"])
        tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
        return _without_digest(model)
    if kind == 1:
        graph = b""
        for _ in range(int(rng.integers(17, 20_000))):
            graph = _field(1, _field(5, _field(6, graph)))
        return _whole()["onnx"] + _field(7, graph)
    if kind == 2:
        return _whole()["onnx"] + _field(7, b"\x08\x01" * int(rng.integers(1_000_000, 4_000_000)))
    model = onnx.load_from_string(_whole()["onnx"])
    name = str(rng.choice(["vocabulary", "window", "sample_rate", "stride", "kind"]))
    (entry,) = (entry for entry in model.metadata_props if entry.key == onnxfile.PREFIX + name)
    entry.value = str(rng.choice(["[" * 100_000, "null", "-1", "{}", '"x"', "[]"]))
    return _without_digest(model)


def _edited_onnx(rng: np.random.Generator) -> bytes:
    """A graph that says something else, by somebody who made the digest again."""
    model = onnx.load_from_string(_whole()["onnx"])
    for _ in range(int(rng.integers(1, 4))):
        node = model.graph.node[int(rng.integers(len(model.graph.node)))]
        kind = int(rng.integers(4))
        if kind == 0:
            node.op_type = str(rng.choice(["Add", "Relu", "Loop", "If", "Nothing", "Gather"]))
        elif kind == 1 and node.input:
            node.input[0] = str(rng.choice(["", "nowhere", *(one.name for one in model.graph.initializer)]))
        elif kind == 2 and node.attribute:
            node.attribute[0].i = int(rng.integers(-(2**40), 2**40))
        else:
            tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
            tensor.dims[:] = [int(value) for value in rng.integers(-3, 2**31, len(tensor.dims))]
    return _without_digest(model)


_HOSTILE = {"keras-hostile": _hostile_keras, "onnx-hostile": _hostile_onnx, "onnx-edited": _edited_onnx}


def _without_digest(model: Any) -> bytes:
    kept = [entry for entry in model.metadata_props if entry.key != onnxfile.PREFIX + "digest"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model.SerializeToString()


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


if __name__ == "__main__":
    sys.exit(main("tests.campaigns.models", KINDS, __doc__ or ""))
