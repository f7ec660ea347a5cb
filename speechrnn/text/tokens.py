"""Tokenization of documents, strings and event streams, for models with an embedding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from speechrnn.faults import check_choice, data_error

if TYPE_CHECKING:
    import numpy as np

Unit = Literal["words", "characters", "items"]
"""The kind of tokens: words and punctuation marks; characters; or items separated by white space, such as the names of
visited pages."""

_TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": re.compile(r"\w+(?:'\w+)*|[^\w\s]").findall, "characters": list, "items": str.split,
}  # fmt: skip


def cut(text: str, unit: Unit) -> list[str]:
    """Split a text into tokens.

    Args:
        text: The text.
        unit: See `Unit`.

    Raises:
        ValueError: The unit is unknown.

    Example:
    >>> cut("It's  free!", "words"), cut("ACG", "characters"), cut("/home /cart?id=1", "items")
    (["It's", 'free', '!'], ['A', 'C', 'G'], ['/home', '/cart?id=1'])
    """
    check_choice("unit", unit, _TOKENIZERS)
    return _TOKENIZERS[unit](text)


class Tokens:
    """The tokens of a model; number 0 is the padding, and the last number is any unknown token.

    Args:
        symbols: The tokens in order; token `i` has number `i + 1`.
        unit: The kind of tokens, see `cut`.
        lowercase: Whether texts are converted to lower case.

    Raises:
        ValueError: There are no tokens, one is repeated, or the unit is unknown.

    Example:
    >>> tokens = Tokens(["free", "now"], unit="words")
    >>> tokens.encode("Free tickets now"), len(tokens)
    ([1, 3, 2], 4)
    """

    def __init__(self, symbols: Sequence[str], *, unit: Unit, lowercase: bool = True) -> None:
        self.symbols, self.unit, self.lowercase = tuple(symbols), unit, bool(lowercase)
        cut("", unit)
        self._numbers = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}
        if not self.symbols or len(self._numbers) < len(self.symbols):
            twice = [symbol for symbol, times in Counter(self.symbols).items() if times > 1]
            received = f"{twice[0]!r} twice" if twice else "none"
            raise ValueError(f"There must be tokens, each of them once. Received: {received}.")

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, unit: Unit, lowercase: bool = True, least: int = 1) -> Tokens:
        """The tokens of texts, sorted.

        Args:
            texts: The texts.
            unit: See `cut`.
            lowercase: Whether texts are converted to lower case.
            least: Minimum count of a token; rarer ones are unknown tokens, so that a model learns to handle these.

        Raises:
            ValueError: No token occurs that often.
        """
        counts = Counter(token for text in texts for token in _cased(cut(text, unit), lowercase))
        return cls(sorted(token for token, times in counts.items() if times >= least), unit=unit, lowercase=lowercase)

    def __len__(self) -> int:
        """The number of tokens, with the padding and the unknown token."""
        return len(self.symbols) + 2

    def __repr__(self) -> str:
        return f"Tokens({len(self.symbols):,} {self.unit})"

    def encode(self, text: str, *, where: str = "") -> list[int]:
        """The numbers of a text's tokens.

        Args:
            text: The text.
            where: Its name in errors; by default its beginning.

        Raises:
            ValueError: The text is empty, or all of its tokens are unknown.
        """
        where = where or repr(text[:60])
        tokens = _cased(cut(text, self.unit), self.lowercase)
        if not tokens:
            raise data_error(where, "empty", f"has no {self.unit}. Leave it out.")
        unknown = len(self.symbols) + 1
        numbers = [self._numbers.get(token, unknown) for token in tokens]
        if all(number == unknown for number in numbers):
            raise data_error(
                where, "with unknown symbols", f"the model never saw any of its {len(tokens):,} {self.unit}, the first "
                f"of which is {tokens[0]!r:.40}. Is it in another language or script? Train with such texts, or leave "
                "it out.",
            )  # fmt: skip
        return numbers

    def read(self, text: str | None, *, where: str = "") -> np.ndarray:
        """The numbers of a text as a signal, float32 `(tokens,)`; see `encode`."""
        import numpy as np  # here, so that listing corpora does not import it

        if text is None:
            raise data_error(where, "without a text", "needs a `text`.")
        return np.array(self.encode(text, where=where), np.float32)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in a form that JSON can hold."""
        return {"symbols": list(self.symbols), "unit": self.unit, "lowercase": self.lowercase}


def _cased(tokens: list[str], lowercase: bool) -> list[str]:
    return [token.lower() for token in tokens] if lowercase else tokens
