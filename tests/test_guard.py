"""Files of models that would run code, read other files or unpack without end are refused before Keras opens them."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from speechrnn.models import bundle, guard


@pytest.fixture
def path(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def rewritten(path, **entries):
    """The file with other entries; names use `_` for `.`."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**content, **entries}.items():
            if data is not None:
                archive.writestr(name, data)
    return str(path)


def weights(make):
    found = io.BytesIO()
    with h5py.File(found, "w") as file:
        make(file)
    return found.getvalue()


def layer(name, **more):
    return json.dumps({"class_name": "Sequential", "config": {"layers": [{"class_name": name, "config": {}} | more]}})


def test_a_whole_file_passes(path):
    guard.check(str(path))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"config.json": layer("Lambda")}, "Lambda layer, which runs code"),
        ({"config.json": layer("StringLookup", module="keras.layers")}, "reads other files"),
        ({"config.json": layer("system", module="os")}, "is not registered"),
        ({"config.json": "[" * 100_000}, "nested too deeply"),
        (
            {"config.json": layer("Dense", config={"units": 800_000_000})},
            r"800,000,000 units \(Dense\), more than its weights",
        ),
        (
            {"config.json": layer("LSTM", config={"units": 20_000})},
            r"20,000 units \(LSTM\), more than its weights",
        ),
        ({"config.json": layer("Conv1D", config={"filters": 10**9})}, r"1,000,000,000 units \(Conv1D\)"),
        ({"config.json": None}, "lacks config.json"),
        ({"../outside.txt": b"x"}, "outside its folder"),
        ({"/outside.txt": b"x"}, "outside its folder"),
        ({"assets/big": bytes(1 << 26)}, "unpacks to"),
        ({"model.weights.h5": weights(lambda f: f.create_dataset("a", (1 << 20, 1 << 10)))}, "that would take"),
        (
            {"model.weights.h5": weights(lambda f: f.update({"a": h5py.ExternalLink("/etc/x.h5", "/a")}))},
            "lead elsewhere",
        ),
        (
            {
                "model.weights.h5": weights(
                    lambda f: f.create_dataset("a", (9,), "u1", external=[("/etc/passwd", 0, 9)])
                )
            },
            "in another file",
        ),
        ({"model.weights.h5": b"no weights"}, "is damaged"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_what_would_harm_is_refused(path, entries, said):
    with pytest.raises(ValueError, match=f"m.keras: .*{said}"):
        guard.check(rewritten(path, **entries))


def test_a_damaged_byte_is_known(path):
    data = bytearray(path.read_bytes())
    data[np.argmax([chunk == 0x48 for chunk in data]) + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="m.keras: "):
        guard.check(str(path))


def test_what_a_newer_keras_saved_and_this_one_cannot_read_says_so(path):
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").replace(b'"units": 2', b'"units": 2, "unheard_of": 1')
    for version, told in (("99.1.0", "saved by Keras 99.1.0, newer than"), (keras.__version__, "cannot be read as")):
        metadata = json.dumps({"keras_version": version}).encode()
        rewritten(path, **{"config.json": config, "metadata.json": metadata})
        with pytest.raises(ValueError, match=rf"m\.keras: .*{told}") as caught:
            bundle.read(path)
        assert ("newer than" in str(caught.value)) == (version == "99.1.0")
