"""Find the weights of language models with the fewest errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import decoding as decoding_options
from speechrnn.cli import terminal
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.faults import Faults

_TUNED = ("lm_weight", "word_bonus", "rescore_weight", "rescore_bonus")


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("lm tune", tune, {"decoding": decoding_options.groups(skip=_TUNED)})


def tune(
    path: Annotated[str, "MANIFEST"],
    /,
    *,
    decoding: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    json: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Find the weights of --lm, and then of --rescore, with the fewest word errors; the model runs once.

    Args:
        path: A .jsonl manifest with texts; not the test set.
        decoding: Options of the decoder.
        model: A .onnx or .keras recognizer, or the name of an included model; by default `english`.
        json: one object, a list of all trials.
        out: a file; by default standard output.
    """
    if not decoding.get("lm") and not decoding.get("rescore"):
        raise UsageError("--lm LM or --rescore LM is needed.")
    from speechrnn.tasks.recognition.transcription import logits_of

    faults = Faults()
    examples, total = terminal.examples_with_text(path, faults)
    with terminal.output(out, overwrite=overwrite) as file:
        session = terminal.load_model(model)
        decoder = decoding_options.build_decoder(decoding, session)
        with terminal.progress(len(examples), "utterances") as progress:
            pairs = list(logits_of(session, examples, faults=faults, progress=progress))
        logits, references = [values for _, values in pairs], [example.text or "" for example, _ in pairs]
        with terminal.progress(None, "weights") as progress:
            trials, flags = _tune(decoder, logits, references, progress)
        terminal.print_faults(*faults)
        if json:
            entries = [_trial_entry(trial, rescored=bool(decoding.get("rescore"))) for trial in trials]
            print(terminal.as_json(entries, indent=1), file=file)
        else:
            print(flags, file=file)
            print(f"WER {100 * trials[0].words.rate:.2f} %, CER {100 * trials[0].characters.rate:.2f} %", file=file)
        file.flush()
    return terminal.print_summary(faults, total, noun="utterances")


def _tune(decoder: Any, logits: list[Any], references: list[str], progress: Any) -> tuple[list[Any], str]:
    """Tune the weights; returns all trials of the last stage, the best first, and the best weights as options."""
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


def _trial_entry(trial: Any, *, rescored: bool) -> dict[str, float]:
    weight, bonus = ("rescore_weight", "rescore_bonus") if rescored else ("lm_weight", "word_bonus")
    return {
        weight: trial.lm_weight,
        bonus: trial.word_bonus,
        "wer": trial.words.rate,
        "cer": trial.characters.rate,
    }
