"""Features as sharded TFRecords: written once, read in any order.

A folder holds `part-00000-of-00008.tfrecord` and so on, which any TFRecord reader can read, and `index.json`: what the
features are, and where each record begins. With the index a record is read at its place, so that epochs are shuffled
over the whole corpus, as they are when audio is decoded.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from speechrnn.data.manifest import Example
from speechrnn.faults import data_error
from speechrnn.pipeline.cache import Nothing
from speechrnn.pipeline.graph import fingerprint
from speechrnn.pipeline.loading import FeatureRows
from speechrnn.pipeline.selection import Entry, Framing
from speechrnn.text import Vocabulary

_VERSION = 1
_HEAD, _FOOT = 12, 4
"""Bytes of a TFRecord before its data (length and checksum) and after (checksum)."""


class RecordWriter:
    """Writes features to shards, and the index at the end.

    Args:
        folder: Where to write; must not exist, or else be made by this class and `overwrite` be true.
        features: The layer that the features come from.
        vocabulary: What the texts are written in, or None.
        shards: Number of files.
        overwrite: Whether to replace records that are there.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        features: keras.Layer,
        vocabulary: Vocabulary | None,
        *,
        shards: int,
        overwrite: bool,
    ) -> None:
        if shards < 1:
            raise ValueError(f"`shards` must be at least 1. Received: {shards}.")
        self._folder = Path(folder)
        if self._folder.exists():
            if not overwrite:
                raise FileExistsError(f"{folder}: is there already. Choose another folder, or pass overwrite=True.")
            if not (self._folder / "index.json").is_file():
                raise FileExistsError(f"{folder}: holds no records, so it is not overwritten. Choose another folder.")
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._header = {
            "version": _VERSION, "features": fingerprint(features), "sample_rate": int(features.sample_rate),
            "num_features": int(features.num_features), "symbols": None if vocabulary is None else vocabulary.symbols,
        }  # fmt: skip
        self._temporary = Path(tempfile.mkdtemp(dir=self._folder.parent, prefix=f".{self._folder.name}-"))
        self._names = [f"part-{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
        self._files = [tf.io.TFRecordWriter(str(self._temporary / name)) for name in self._names]
        self._ends = [0] * shards
        self._records: list[dict[str, Any]] = []

    def __enter__(self) -> RecordWriter:
        return self

    def add(self, entry: Entry, features: np.ndarray) -> None:
        """Writes one example's features, float32 `(frames, features)`."""
        data = np.ascontiguousarray(features, "<f4").tobytes()
        record = tf.train.Example(features=tf.train.Features(feature={
            "id": _bytes(entry.example.id.encode()),
            "features": _bytes(data),
            "shape": _integers(features.shape),
            "target": _integers(np.atleast_1d(entry.target)),
            "checksum": _integers([zlib.crc32(data)]),
        })).SerializeToString()  # fmt: skip
        shard = len(self._records) % len(self._files)
        self._files[shard].write(record)
        self._records.append(
            {"shard": shard, "start": self._ends[shard] + _HEAD, "size": len(record), "example": asdict(entry.example)}
        )
        self._ends[shard] += _HEAD + len(record) + _FOOT

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for file in self._files:
                file.close()
            if kind is None:
                index = {**self._header, "shards": self._names, "records": self._records}
                (self._temporary / "index.json").write_text(json.dumps(index))
                if self._folder.exists():
                    shutil.rmtree(self._folder)
                os.chmod(self._temporary, 0o755)
                os.replace(self._temporary, self._folder)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)


class Records:
    """A folder of records.

    Args:
        folder: What `write_tfrecords` wrote.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: The index is damaged or of another version, or a shard is missing or cut off.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        path = self.folder / "index.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file. Write the records with `write_tfrecords`.")
        try:
            index = json.loads(path.read_text())
            version = index["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: is no index of records ({error}). Write them again.") from error
        if version != _VERSION:
            raise ValueError(f"{path}: must be of version {_VERSION}. Received: {version}. Write the records again.")
        self._header = index
        self._paths = [str(self.folder / name) for name in index["shards"]]
        self._places = [(record["shard"], record["start"], record["size"]) for record in index["records"]]
        self.examples = [self._example(record) for record in index["records"]]

    def _example(self, record: dict[str, Any]) -> Example:
        # The audio may be gone since; what has to be there is the shard.
        return Example(**{**record["example"], "path": self._paths[record["shard"]], "id": record["example"]["id"]})

    def check(self, features: keras.Layer | None, vocabulary: Vocabulary | None) -> None:
        """Raises ValueError unless the records were made with these features and this vocabulary."""
        if features is None:
            raise ValueError(f"{self.folder}: holds features. Received: features=None. Pass the layer they came from.")
        if fingerprint(features) != self._header["features"]:
            raise ValueError(
                f"{self.folder}: holds the features {self._header['features']}. Received: {fingerprint(features)}. "
                "Pass the same layer, or write the records again."
            )
        symbols = self._header["symbols"]
        if vocabulary is not None and symbols is not None and list(vocabulary.symbols) != list(symbols):
            raise ValueError(
                f"{self.folder}: was written with the vocabulary {''.join(symbols)!r}. "
                f"Received: {''.join(vocabulary.symbols)!r}. Write the records again."
            )

    def read(self, index: int) -> np.ndarray:
        """Features of one record, float32 `(frames, features)`."""
        shard, start, size = self._places[index]
        with open(self._paths[shard], "rb") as file:
            file.seek(start)
            data = file.read(size)
        damaged = data_error(
            f"{self._paths[shard]}", "a damaged record", f"the record at byte {start} is damaged. Write them again."
        )
        try:
            fields = tf.train.Example.FromString(data).features.feature
            values = fields["features"].bytes_list.value[0]
            checksum, shape = fields["checksum"].int64_list.value[0], tuple(fields["shape"].int64_list.value)
        except (ValueError, IndexError, DecodeError) as error:
            raise damaged from error
        if zlib.crc32(values) != checksum:
            raise damaged
        return np.frombuffer(values, "<f4").reshape(shape)


class RecordSource(FeatureRows):
    """Rows from records.

    Args:
        records: The folder.
        width: Features in a frame.
        framing: How samples become frames.
    """

    def __init__(self, records: Records, width: int, framing: Framing) -> None:
        super().__init__(width, framing, Nothing())
        self._records = records

    def row(
        self, entry: Entry, speed: float, limit: int, rng: Callable[[], np.random.Generator], given: np.ndarray | None
    ) -> np.ndarray | None:
        """The row's features."""
        return self._records.read(entry.index)


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integers(values: Sequence[int] | np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in values]))
