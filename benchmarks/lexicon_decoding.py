"""Decoding with a lexicon: errors and frames a second of our search and of flashlight-text's LexiconDecoder.

    python benchmarks/lexicon_decoding.py TEXTS --lexicon FILE.lexicon --lm LM.arpa [--width 16 64 256]

With --logits (what `benchmarks/decoding.py save` writes for a model of phones) TEXTS does not matter; else the logits
are made of TEXTS, one sentence per line: the phones of each word, peaked as CTC's are, a fifth of them mistaken for
another one. Both searches get the same log probabilities, words, language model, weights, width and threshold; medians
of alternating runs in one process, processor time of one thread. flashlight-text (Python up to 3.12: `pip install
flashlight-text`) reads the ARPA file with its KenLM.
"""

import argparse
import json
import sys
import time

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.lexicon import LexiconSearch
from speechrnn.decoding.lm import ngram
from speechrnn.metrics import edits
from speechrnn.text import Phones, lexicons

SPECIAL = ("<unk>", "<s>", "</s>")


def spoken(phones, size, rng):
    """Logits of phones as a mediocre model gives them."""
    rows = []
    for phone in phones:
        peak = rng.normal(scale=1.2, size=size)
        peak[phone] += 6
        if rng.random() < 0.2:
            peak[phone] -= 1.5
            peak[rng.integers(1, size)] += 6
        for scale in (1, *[0.8] * rng.integers(0, 2)):
            rows.append(scale * peak)
        for _ in range(rng.integers(0, 3)):
            blank = rng.normal(scale=1.2, size=size)
            blank[0] += 6
            rows.append(blank)
    return np.array(rows, np.float32)


def ours(vocabulary, entries, model, options):
    search = LexiconSearch(
        vocabulary, entries, width=options.width_now, language_model=model, lm_weight=options.lm_weight,
        word_bonus=options.word_bonus, beam_threshold=options.threshold,
    )  # fmt: skip
    return lambda logits: search.n_best(logits, 1)[0].text


def flashlight(vocabulary, entries, words, options):
    from flashlight.lib.text import decoder as lib
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary([*words, "<unk>"])
    model = KenLM(options.lm, dictionary)
    start, trie = model.start(False), lib.Trie(len(vocabulary), 0)
    scores = {word: model.score(start, i)[1] for i, word in enumerate(words)}
    index = {word: i for i, word in enumerate(words)}
    for word, symbols, _ in entries:
        trie.insert(symbols, index[word], scores[word])
    trie.smear(lib.SmearingMode.MAX)
    # KenLM's logarithms are of base 10.
    settings = lib.LexiconDecoderOptions(
        beam_size=options.width_now, beam_size_token=len(vocabulary), beam_threshold=options.threshold,
        lm_weight=options.lm_weight * np.log(10), word_score=options.word_bonus, unk_score=-np.inf, sil_score=0,
        log_add=False, criterion_type=lib.CriterionType.CTC,
    )  # fmt: skip
    found = lib.LexiconDecoder(settings, trie, model, -1, 0, len(words), [], False)

    def decode(logits):
        values = np.ascontiguousarray(log_softmax(logits), np.float32)
        return " ".join(words[i] for i in found.decode(values.ctypes.data, *values.shape)[0].words if i >= 0)

    return decode


def measured(options):
    rng = np.random.default_rng(1)
    lexicon, model = lexicons.read(options.lexicon), ngram.load(options.lm)
    vocabulary = Phones(lexicon.phones)
    known = [word for word in model.words if word in lexicon and word not in SPECIAL]
    kept = set(known)
    entries = [(word, symbols, 0.0) for word, symbols, _ in lexicon.pronunciations(vocabulary) if word in kept]
    with open(options.texts, encoding="utf-8") as file:
        texts = [line.strip() for line in file if not lexicon.unknown(line)][: options.most]
    if options.logits:
        with np.load(options.logits) as held:
            vocabulary, texts = Phones(held["symbols"].tolist()), held["texts"].tolist()[: options.most]
            logits = [held[f"logits_{i}"] for i in range(len(texts))]
            entries = [(word, symbols, 0.0) for word, symbols, _ in lexicon.pronunciations(vocabulary) if word in kept]
    else:
        logits = [spoken(vocabulary.encode(lexicon.pronounce(text)), len(vocabulary), rng) for text in texts]
    frames, rows = sum(map(len, logits)), []
    print(f"{len(texts)} texts, {frames} frames, {len(kept)} words", file=sys.stderr)
    for width in options.width:
        options.width_now = width
        runs = {"ours": ours(vocabulary, entries, model, options)}
        runs["flashlight"] = flashlight(vocabulary, entries, known, options)
        found = {name: [decode(x) for x in logits] for name, decode in runs.items()}  # compiles and warms up
        times = {name: [] for name in runs}
        for _ in range(options.repeats):
            for name, decode in runs.items():
                start = time.thread_time()
                for x in logits:
                    decode(x)
                times[name].append(time.thread_time() - start)
        for name, hypotheses in found.items():
            errors = sum(
                (edits.counts(t.split(), h.split()) for t, h in zip(texts, hypotheses, strict=True)), edits.Edits()
            )
            rows.append({"width": width, "search": name, "wer": errors.rate, "cpu_s": float(np.median(times[name]))})
            rows[-1]["frames_per_s"] = frames / rows[-1]["cpu_s"]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts")
    parser.add_argument("--lexicon", required=True)
    parser.add_argument("--lm", required=True)
    parser.add_argument("--logits")
    parser.add_argument("--width", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--lm-weight", type=float, default=0.8)
    parser.add_argument("--word-bonus", type=float, default=0.0)
    parser.add_argument("--threshold", type=float, default=16.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=20, help="texts")
    parser.add_argument("--json", action="store_true")
    rows = measured(options := parser.parse_args())
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['search']:12} width {row['width']:4}  WER {100 * row['wer']:6.2f} %  "
            f"{row['frames_per_s']:10,.0f} frames a second of processor time"
        )


if __name__ == "__main__":
    main()
