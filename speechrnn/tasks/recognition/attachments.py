"""Attach a lexicon, a language model and search options to a recognizer's `.onnx` file, and decode with them.

They are stored in the file itself (`speechrnn.runtime.onnxfile.with_attachments`), so that a single file contains all
that is needed to write words. They are used without being copied in memory.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn.decoding.best_path import greedy
from speechrnn.decoding.lm import binary, ngram
from speechrnn.decoding.options import Decoder
from speechrnn.faults import data_error, file_faults, suggestion
from speechrnn.files import replacing
from speechrnn.runtime import onnxfile
from speechrnn.tasks.language import rescoring
from speechrnn.tasks.recognition.model_types import has_encoder, make_search
from speechrnn.text import Phones, Vocabulary, lexicons, packed

_log = logging.getLogger(__name__)

_LEXICON, _TREE, _LM, _SEARCH = "lexicon", "tree", "lm", "search"
"""Names of attachments. A lexicon is stored as text or, for a model of phones, as a tree (`speechrnn.text.packed`)."""
_SEARCH_OPTIONS = ("beam", "lm_weight", "word_bonus", "unknown_score")
"""Search options that can be attached."""


def attach(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    lexicon: str | os.PathLike[str],
    lm: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **search: float,
) -> None:
    """Write a copy of a recognizer with a lexicon and a language model attached, which it uses by default.

    Args:
        model: An `.onnx` recognizer of whole signals, or a streaming one.
        out: File of the copy.
        lexicon: See `speechrnn.text.lexicons.load`; for a model of phones it must use the model's phones.
        lm: A language model in this package's binary format (`.lm`).
        overwrite: Replace `out` if it exists.
        **search: Default values of `beam`, `lm_weight`, `word_bonus` and `unknown_score`.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: The file is not a recognizer, or does not write the lexicon's phones; `lm` is of another format; or
            an option is unknown.
    """
    for name in search:
        if name not in _SEARCH_OPTIONS:
            raise ValueError(f"A packed model has no option `{name}`.{suggestion(name, _SEARCH_OPTIONS, 'Known')}")
    file = onnxfile.read(model)
    if "joint" in file.metadata:
        raise ValueError(
            f"{file.name}: must be a recognizer with CTC. Received: a {file.metadata['kind']}, which cannot use a "
            "lexicon."
        )
    words = lexicons.load(lexicon)
    vocabulary = Vocabulary.from_config(file.metadata["vocabulary"])
    if isinstance(vocabulary, Phones):
        parts = {_TREE: packed.pack(words, vocabulary)}
    else:
        parts = {_LEXICON: zlib.compress(words.to_bytes(), 9)}
    if lm is not None and not binary.is_binary(lm):
        raise ValueError(f"{os.fspath(lm)}: must be a binary language model. Write it with `lm train --out NAME.lm`.")
    parts[_SEARCH] = json.dumps(search).encode()
    if lm is not None:
        parts[_LM] = Path(lm).read_bytes()
    with replacing(out, overwrite=overwrite) as copy:
        copy.write(onnxfile.with_attachments(file.content, parts))


def attached_options(model: Any) -> dict[str, Any]:
    """Options of the decoder that are attached to a recognizer's file; empty for most models.

    Args:
        model: A session or a bundle.

    Raises:
        ValueError: An attachment is damaged.
    """
    parts, options = _parts(model), {}
    if _SEARCH in parts:
        options = {
            name: value for name, value in _json(parts[_SEARCH], model.file.name).items() if name in _SEARCH_OPTIONS
        }
    if _LEXICON in parts:
        text = packed.decompress(parts[_LEXICON], model.file.name)
        with file_faults(model.file.name):
            options["lexicon"] = lexicons.parse(text.decode(), model.file.name)
    if _TREE in parts:
        options["lexicon"] = packed.PackedLexicon(parts[_TREE], model.file.name)
    if _LM in parts:
        options["lm"] = ngram.NGram.of_arrays(*binary.parse(np.frombuffer(parts[_LM], np.uint8), model.file.name))
    return options


def has_attachments(model: Any) -> bool:
    """Whether a recognizer's file has attachments."""
    return bool(_parts(model))


def decoder(model: Any, **options: Any) -> Decoder:
    """The decoder of a recognizer, with the given options, and by default with those attached to its file.

    A given language model replaces the attached one and its weights; a list of words or a grammar is used without a
    language model.

    Args:
        model: A recognizer.
        **options: Options of `speechrnn.tasks.language.rescoring.decoder`, except `vocabulary`.
    """
    if has_encoder(model):
        return make_search(model, **options)
    defaults = attached_options(model)
    if any(options.get(name) is not None for name in ("lm", "words", "grammar", "lexicon")):
        defaults = {"lexicon": defaults["lexicon"]} if "lexicon" in defaults else {}
    return rescoring.decoder(model.vocabulary, **{**defaults, **options})


def log_phones(vocabulary: Vocabulary, decoder: Decoder) -> None:
    """Log that phones are written, if a model of phones is decoded without a lexicon."""
    if isinstance(vocabulary, Phones) and decoder is greedy:
        _log.info("The model writes phones. To write words, it needs a lexicon (--lexicon).")


def _parts(model: Any) -> dict[str, memoryview]:
    file = getattr(model, "file", None)
    return onnxfile.attachments(file.content) if isinstance(file, onnxfile.OnnxFile) else {}


def _json(part: memoryview, name: str) -> dict[str, Any]:
    try:
        options = json.loads(bytes(part))
    except ValueError as error:
        raise data_error(
            name, "damaged", f"its lexicon or language model is damaged: {error}. Copy it again."
        ) from error
    return options if isinstance(options, dict) else {}
