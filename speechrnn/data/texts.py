"""Examples that are texts: documents, strings of symbols, click streams, with a class each."""

from __future__ import annotations

from typing import Any

from speechrnn.data.manifest import Example
from speechrnn.faults import data_error
from speechrnn.text.tokens import Unit, cut


def text_example(
    text: str, label: str | int | None = None, *, unit: Unit, path: str = "", id: str = "", **more: Any
) -> Example:
    """Create an example of a text; its duration is its number of tokens, since texts have a rate of 1.

    Args:
        text: The text.
        label: Its class.
        unit: Unit of the tokens, see `speechrnn.text.tokens.Unit`; stored in the example's `extra`.
        path: The file that it comes from.
        id: Its name; by default the beginning of the text.
        **more: Other fields of `Example`, such as `subject`.

    Raises:
        ValueError: The text is empty.

    Example:
    >>> example = text_example("Win cash now!", "spam", unit="words")
    >>> example.duration, example.label, example.extra
    (4.0, 'spam', {'unit': 'words'})
    """
    tokens = len(cut(text, unit))
    name = id or text[:60].strip()
    if not tokens:
        raise data_error(name or path or "a text", "empty", f"has no {unit}. Leave it out.")
    return Example(path or name, float(tokens), text=text, label=label, id=name, extra={"unit": unit}, **more)


def unit_of(example: Example) -> Unit | None:
    """Unit of the tokens of an example that is a text; None for recordings."""
    return example.extra.get("unit")
