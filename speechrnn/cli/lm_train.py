"""Train a language model of n-grams."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb
from speechrnn.data import sentences
from speechrnn.files import refuse_existing

_EPILOG = """\
A TEXT is a file with one sentence per line, also compressed (.gz, .xz), or a manifest (.jsonl). `speechrnn train --task
generate TEXT` trains a recurrent model instead.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    groups = {"ngrams": [Group("speechrnn.decoding.lm.kneser_ney:train", "n-grams", ("vocabulary",))]}
    hints = {
        "--kind": "`speechrnn train --task generate` trains recurrent models.",
        "--no-normalize": "now called --no-normalize-texts.",
    }
    return Verb("lm train", train, groups, _EPILOG, hints)


def train(
    *texts: Annotated[str, "TEXT"],
    out: Annotated[str, "FILE"],
    ngrams: Mapping[str, Any],
    vocabulary: Annotated[str | None, "FILE"] = None,
    normalize_texts: bool = True,
    bits: Literal[8, 32] | None = None,
    overwrite: bool = False,
) -> int:
    """Train a language model of n-grams, with modified Kneser-Ney smoothing.

    Args:
        texts: Text files or manifests.
        out: a .lm file, which loads at once, or an ARPA file, gzipped if its name ends in .gz.
        ngrams: Options of the n-grams.
        vocabulary: The words that the model knows: a lexicon, or a file with one word per line; by default all words of
            the texts.
        bits: Bits of each probability in a .lm file: 32 by default, or 8 for the nearest of 256 values.
    """
    from speechrnn.decoding.lm import kneser_ney
    from speechrnn.text import lexicons

    refuse_existing(out, overwrite=overwrite)
    words = None if vocabulary is None else lexicons.words(vocabulary)
    counter = itertools.count()
    read = (sentence for sentence in sentences.read(texts, normalize=normalize_texts) if next(counter) >= 0)
    model = kneser_ney.train(read, vocabulary=words, **ngrams)
    model.write(out, bits=bits, overwrite=overwrite)
    sizes = ", ".join(f"{size:,} {n}-grams" for n, size in enumerate(model.sizes, start=1))
    print(f"{out}: {sizes} from {next(counter):,} sentences", flush=True)
    return 0
