"""Decoding speed and errors on saved logits: greedy, our beam search, and pyctcdecode where it is installed.

    python benchmarks/decoding.py save MODEL MANIFEST LOGITS.npz
    python benchmarks/decoding.py run LOGITS.npz [--lm LM.arpa] [--width 16 64 256] [--lm-weight X] [--word-bonus X]

`run` needs no TensorFlow, so it runs where pyctcdecode does (Python up to 3.12, `pip install . pyctcdecode kenlm`).
Both searches get the same log probabilities, language model, weights, width and pruning; medians of alternating runs in
one process, one thread. pyctcdecode returns its best text (`decode`); ours is timed the same way (`n_best`), and with
the times and confidences of the symbols too (`path`), which pyctcdecode's `decode` does not give.
"""

import argparse
import json
import time

import numpy as np

import speechrnn
from speechrnn.decoding import BeamSearch, greedy
from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.lm import ngram
from speechrnn.metrics import edits
from speechrnn.text import Vocabulary

TOKEN_FLOOR, BEAM_THRESHOLD, UNKNOWN = -5.0, 10.0, -10.0


def save(model, manifest_path, out):
    from speechrnn.data import manifest
    from speechrnn.faults import Faults
    from speechrnn.tasks.recognition import transcription as transcribe

    recognizer = speechrnn.load(model)
    found = list(transcribe.logits_of(recognizer, manifest.read(manifest_path), faults=Faults()))
    arrays = {f"logits_{i}": values for i, (_, values) in enumerate(found)}
    texts = [example.text or "" for example, _ in found]
    np.savez(out, symbols=list(recognizer.vocabulary.symbols), texts=texts, **arrays)


def contenders(vocabulary, lm, widths, lm_weight, word_bonus):
    spoken = vocabulary.decode
    found = {"greedy": lambda x: spoken(greedy(x).ids)}
    models = {"": None, "+ lm": ngram.load(lm)} if lm else {"": None}
    for name, model in models.items():
        for width in widths:
            search = BeamSearch(
                vocabulary,
                width=width,
                token_floor=TOKEN_FLOOR,
                beam_threshold=BEAM_THRESHOLD,
                language_model=model,
                lm_weight=lm_weight,
                word_bonus=word_bonus if model else 0.0,
                unknown_score=lm_weight * UNKNOWN * np.log(10),  # pyctcdecode adds it to log10 probabilities
            )
            found[f"beam {width} {name}"] = lambda x, s=search: s.n_best(x, 1)[0].text
            found[f"beam {width} {name} path"] = lambda x, s=search: spoken(s(x).ids)
            peer = pyctcdecode_search(vocabulary, lm if model else None, lm_weight, word_bonus, width)
            if peer:
                found[f"pyctcdecode {width} {name}"] = peer
    return found


def pyctcdecode_search(vocabulary, lm, lm_weight, word_bonus, width):
    try:
        import pyctcdecode
    except ImportError:
        return None
    unigrams = [w for w in ngram.load(lm).words if w not in ("<s>", "</s>", "<unk>")] if lm else None
    decoder = pyctcdecode.build_ctcdecoder(
        ["", *vocabulary.symbols],
        kenlm_model_path=lm,
        unigrams=unigrams,
        alpha=lm_weight,
        beta=word_bonus,
        unk_score_offset=UNKNOWN,
    )
    options = {"beam_width": width, "token_min_logp": TOKEN_FLOOR, "beam_prune_logp": -BEAM_THRESHOLD}
    return lambda x: decoder.decode(log_softmax(x).astype(np.float32), **options)


def run(path, lm, widths, lm_weight, word_bonus, repeats):
    with np.load(path) as held:
        vocabulary = Vocabulary(held["symbols"].tolist())
        texts = held["texts"].tolist()
        logits = [held[f"logits_{i}"] for i in range(len(texts))]
    found = contenders(vocabulary, lm, widths, lm_weight, word_bonus)
    times = {name: [] for name in found}
    heard = {name: [decode(x) for x in logits] for name, decode in found.items()}  # compiles and warms up
    for _ in range(repeats):
        for name, decode in found.items():
            start = time.perf_counter()
            for x in logits:
                decode(x)
            times[name].append(time.perf_counter() - start)
    rows = {}
    for name, hypotheses in heard.items():
        words = sum((edits.counts(t.split(), h.split()) for t, h in zip(texts, hypotheses, strict=True)), edits.Edits())
        rows[name] = {"wer": words.rate, "errors": words.errors, "per_second": len(logits) / np.median(times[name])}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    saving = verbs.add_parser("save")
    for name in ("model", "manifest", "out"):
        saving.add_argument(name)
    running = verbs.add_parser("run")
    running.add_argument("logits")
    running.add_argument("--lm")
    running.add_argument("--width", type=int, nargs="+", default=[16, 64, 256])
    running.add_argument("--lm-weight", type=float, default=0.5)
    running.add_argument("--word-bonus", type=float, default=1.5)
    running.add_argument("--repeats", type=int, default=5)
    running.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.verb == "save":
        save(given.model, given.manifest, given.out)
        return
    rows = run(given.logits, given.lm, given.width, given.lm_weight, given.word_bonus, given.repeats)
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    for name, row in rows.items():
        print(f"{name:28} WER {100 * row['wer']:6.2f} %  {row['per_second']:10,.1f} utterances per second")


if __name__ == "__main__":
    main()
