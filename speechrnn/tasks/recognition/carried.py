"""What a recognizer's file carries for its search: a lexicon, a language model, and what they weigh.

They stand in the `.onnx` file itself (`speechrnn.runtime.onnxfile.with_attachments`), so that one file writes words.
They are used where they lie in memory.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn.decoding.lm import binary, ngram
from speechrnn.decoding.options import Decoder
from speechrnn.faults import data_error, file_faults, suggestion
from speechrnn.files import replacing
from speechrnn.runtime import onnxfile
from speechrnn.tasks.language import rescoring
from speechrnn.tasks.recognition.joint import encodes, search_of
from speechrnn.text import Phones, Vocabulary, lexicons, packed

_LEXICON, _TREE, _LM, _SEARCH = "lexicon", "tree", "lm", "search"
"""Parts of a file. A lexicon is its text or, beside a model of phones, a tree (`speechrnn.text.packed`)."""
_NUMBERS = ("beam", "lm_weight", "word_bonus", "unknown_score")
"""Options of the search that a file may carry."""


def carry(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    lexicon: str | os.PathLike[str],
    lm: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **search: float,
) -> None:
    """Write a copy of a recognizer that carries a lexicon and a language model, and writes words without being asked.

    Args:
        model: An `.onnx` recognizer of whole signals, or a streaming one.
        out: The copy.
        lexicon: See `speechrnn.text.lexicons.named`; it must have the model's phones, if the model writes phones.
        lm: A language model in our binary format (`.lm`).
        overwrite: Replace `out` if it exists.
        **search: What `beam`, `lm_weight`, `word_bonus` and `unknown_score` are unless they are given.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: The model is none, or does not write the lexicon's phones; `lm` is another format; or there is no
            such option.
    """
    for name in search:
        if name not in _NUMBERS:
            raise ValueError(f"A packed model has no option `{name}`.{suggestion(name, _NUMBERS, 'Known')}")
    file = onnxfile.read(model)
    if "joint" in file.metadata:
        raise ValueError(
            f"{file.name}: must be a recognizer with CTC. Received: a {file.metadata['kind']}, which cannot use a "
            "lexicon."
        )
    held = lexicons.named(lexicon)
    vocabulary = Vocabulary.from_config(file.metadata["vocabulary"])
    if isinstance(vocabulary, Phones):
        lexicon_part = {_TREE: packed.pack(held, vocabulary)}
    else:
        lexicon_part = {_LEXICON: zlib.compress(held.to_bytes(), 9)}
    if lm is not None and not binary.is_binary(lm):
        raise ValueError(f"{os.fspath(lm)}: must be a binary language model. Write it with `lm train --out NAME.lm`.")
    parts = {**lexicon_part, _SEARCH: json.dumps(search).encode()}
    if lm is not None:
        parts[_LM] = Path(lm).read_bytes()
    with replacing(out, overwrite=overwrite) as written:
        written.write(onnxfile.with_attachments(file.content, parts))


def options_of(model: Any) -> dict[str, Any]:
    """The options of the search that a recognizer's file carries; none for most models.

    Args:
        model: A session or a bundle.

    Raises:
        ValueError: What it carries is damaged.
    """
    parts, found = _parts(model), {}
    if _SEARCH in parts:
        found = {name: value for name, value in _json(parts[_SEARCH], model.file.name).items() if name in _NUMBERS}
    if _LEXICON in parts:
        text = packed.inflated(parts[_LEXICON], model.file.name)
        with file_faults(model.file.name):
            found["lexicon"] = lexicons.parsed(text.decode(), model.file.name)
    if _TREE in parts:
        found["lexicon"] = packed.PackedLexicon(parts[_TREE], model.file.name)
    if _LM in parts:
        found["lm"] = ngram.NGram.of_arrays(*binary.parsed(np.frombuffer(parts[_LM], np.uint8), model.file.name))
    return found


def carries(model: Any) -> bool:
    """Whether there are such options."""
    return bool(_parts(model))


def decoder(model: Any, **given: Any) -> Decoder:
    """The search that was asked for, by what the model carries where nothing else is given.

    A language model that is given takes the place of the one carried, with weights of its own; a list of words or a
    grammar does without one.

    Args:
        model: A recognizer.
        **given: Options of `speechrnn.tasks.language.rescoring.decoder`, `vocabulary` excepted.
    """
    if encodes(model):
        return search_of(model, **given)
    own = options_of(model)
    if any(given.get(name) is not None for name in ("lm", "words", "grammar", "lexicon")):
        own = {"lexicon": own["lexicon"]} if "lexicon" in own else {}
    return rescoring.decoder(model.vocabulary, **{**own, **given})


def _parts(model: Any) -> dict[str, memoryview]:
    file = getattr(model, "file", None)
    return onnxfile.attachments(file.content) if isinstance(file, onnxfile.OnnxFile) else {}


def _json(part: memoryview, name: str) -> dict[str, Any]:
    try:
        found = json.loads(bytes(part))
    except ValueError as error:
        raise data_error(
            name, "damaged", f"its lexicon or language model is damaged: {error}. Copy it again."
        ) from error
    return found if isinstance(found, dict) else {}
