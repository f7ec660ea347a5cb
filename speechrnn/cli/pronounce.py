"""Print the phones of words, from a lexicon or a letters-to-phones model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.faults import Fault, Faults
from speechrnn.text import Lexicon, lexicons, normalize

_EPILOG = """\
Each line is `word<TAB>phones`, with spaces between phones. A word of the lexicon gets its own pronunciations, any other
the model's; with neither, or with letters that the model never saw, it is named on standard error, and the exit code is
1. Without both options the words are English, and the model that comes with the package pronounces them: CMUdict's
phones, without stress.
"""

Pronounced = tuple[str, list[str]]
"""A word and its pronunciations, the most likely first."""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("pronounce", pronounce, epilog=_EPILOG)


def pronounce(
    *words: Annotated[str, "WORD"],
    model: Annotated[str | None, "MODEL"] = None,
    lexicon: Annotated[str | None, "FILE"] = None,
    best: int = 1,
    json: bool = False,
) -> int:
    """Print the phones of words.

    Args:
        words: What to pronounce.
        model: A .onnx or .keras letters-to-phones model, for words that the lexicon lacks; without a lexicon, by
            default `english_pronunciation`.
        lexicon: Lexicon of words and their pronunciations: `cmudict`, or a file of pronunciations.
        best: Number of results for each input. There may be fewer.
        json: one object per line.
    """
    if best < 1:
        raise UsageError(f"--best must be at least 1. Received: {best}.")
    if lexicon is None and model is None:
        from speechrnn.models.loading import PRONUNCIATION

        model = PRONUNCIATION
    known, faults = Lexicon({}) if lexicon is None else lexicons.load(lexicon), Faults()
    for outcome in _pronounce([normalize(word) or word for word in words], known, model, best):
        if isinstance(outcome, Fault):
            faults.extend([outcome])
            terminal.print_faults(outcome)
            continue
        word, pronunciations = outcome
        if json:
            print(terminal.as_json({"word": word, "pronunciations": pronunciations}))
        else:
            print("".join(f"{word}\t{phones}\n" for phones in pronunciations), end="")
    return terminal.print_summary(faults, len(words), noun="words")


def letters_to_phones(model: str) -> Any:
    """Open a session of a letters-to-phones model."""
    return terminal.load_any(model, "sequence to sequence")


def _pronounce(words: Sequence[str], lexicon: Lexicon, model: str | None, best: int) -> Iterator[Pronounced | Fault]:
    """Yield the pronunciations of each word, in order."""
    missing = [word for word in dict.fromkeys(words) if word not in lexicon]
    guessed: dict[str, Pronounced | Fault] = {}
    if missing and model is not None:
        session = letters_to_phones(model)
        options = {"beam": max(4, best), "best": best}
        for word, answer in zip(missing, session.translate(missing, on_error="collect", **options), strict=True):
            pronunciations = [candidate.text for candidate in answer.candidates]
            guessed[word] = (word, pronunciations) if answer.ok else Fault(word, "without phones", answer.error)
    for word in words:
        if word in lexicon:
            yield word, [" ".join(phones) for phones, _ in lexicon[word][:best]]
        elif word in guessed:
            yield guessed[word]
        else:
            yield Fault(word, "without phones", f"{word}: is not in the lexicon. Give a --model for such words.")
