"""`speechrnn lm tune`: the weights of language models that make the fewest errors."""

from __future__ import annotations

from typing import Any

from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser
from speechrnn.data import manifest
from speechrnn.faults import Faults

_TUNED = ("lm_weight", "word_bonus", "rescore_weight", "rescore_bonus")


def run(words: list[str]) -> int:
    """Tune the weights of `--lm`, and then those of `--rescore`."""
    made = Parser(
        prog="speechrnn lm tune",
        usage="speechrnn lm tune MODEL MANIFEST [--lm LM] [--rescore LM] [--beam N] [--json]",
        description="Find the weights with the fewest word errors on a validation manifest; the model runs once.",
    )
    terminal.add_recogniser(made)
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts; not the test set")
    made.add_argument("--json", action="store_true", help="all trials as one JSON object")
    terminal.add_output(made)
    decoding.add(made, skip=_TUNED)
    arguments = made.parse_args(words)
    given = decoding.given(arguments)
    if not given.get("lm") and not given.get("rescore"):
        made.error("--lm LM or --rescore LM is needed.")
    from speechrnn.tasks.recognition.transcription import logits_of

    faults = Faults()
    examples = [example for example in manifest.read(arguments.manifest, faults=faults) if example.text]
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        model = terminal.load_model(arguments.model)
        decoder = decoding.chosen(arguments, model.vocabulary)
        with terminal.progress(len(examples), "utterances") as progress:
            found = list(logits_of(model, examples, faults=faults, progress=progress))
        logits, references = [values for _, values in found], [example.text or "" for example, _ in found]
        with terminal.progress(None, "weights") as progress:
            trials, flags = _tuned(decoder, logits, references, progress)
        for fault in faults:
            terminal.name_fault(fault)
        if arguments.json:
            print(
                terminal.as_json([_shown(trial, rescored=bool(given.get("rescore"))) for trial in trials], indent=1),
                file=out,
            )
        else:
            print(flags, file=out)
            print(f"WER {100 * trials[0].words.rate:.2f} %, CER {100 * trials[0].characters.rate:.2f} %", file=out)
        out.flush()
    return terminal.verdict(faults, len(examples) + len(faults), noun="utterances")


def _tuned(decoder: Any, logits: list[Any], references: list[str], progress: Any) -> tuple[list[Any], str]:
    """All trials of what was tuned last, the best first; and the options that say the best weights."""
    from speechrnn.decoding import tuning
    from speechrnn.decoding.rescoring import Rescored

    search = decoder.search if isinstance(decoder, Rescored) else decoder
    trials: list[tuning.Trial] = []
    flags = []
    if search.language_model is not None:
        trials = tuning.tune(search, logits, references, progress=progress)
        best = trials[0]
        search = search.weighted(lm_weight=best.lm_weight, word_bonus=best.word_bonus)
        flags.append(f"--lm-weight {best.lm_weight:g} --word-bonus {best.word_bonus:g}")
    if isinstance(decoder, Rescored):
        rescored = Rescored(search, decoder.model, best=decoder.best)
        trials = tuning.tune_rescoring(rescored, logits, references, progress=progress)
        flags.append(f"--rescore-weight {trials[0].lm_weight:g} --rescore-bonus {trials[0].word_bonus:g}")
    return trials, " ".join(flags)


def _shown(trial: Any, *, rescored: bool) -> dict[str, float]:
    weight, bonus = ("rescore_weight", "rescore_bonus") if rescored else ("lm_weight", "word_bonus")
    return {
        weight: trial.lm_weight,
        bonus: trial.word_bonus,
        "wer": trial.words.rate,
        "cer": trial.characters.rate,
    }
