"""What every classifier can be asked, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechrnn.models.answers import OnError, Usable, answers

__all__ = ["Classifies"]


class Classifies(Usable):
    """The methods of classifiers."""

    def classify(
        self,
        sources: Any,
        *,
        on_error: OnError = "raise",
        batch_size: int = 32,
        rate: float | None = None,
        row: int | None = None,
        table: Any = None,
        progress: Callable[[str], None] | None = None,
    ) -> Any:
        """Say which class one record, or each of several, belongs to.

        Args:
            sources: A file of signals or audio, or an `Example`; for a classifier of texts a text, or the `Path` of a
                file that is one; or an iterable of these.
            on_error: "raise" raises what is wrong with a record; "collect" gives an answer whose `ok` is false and
                whose `error` says why.
            batch_size: Records classified at once; those of about one length are put together.
            rate: Samples per second of files that do not say their own.
            row: Which record of files that hold many.
            table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
            progress: Called with the path of each record once it is done.

        Returns:
            A `Classification` for one source; for several an iterator of them, in the order given.

        Raises:
            OSError, ValueError: With "raise", what is wrong with a record.
        """
        from speechrnn.tasks.classification.classify import Classification, outcomes

        model: Any = self  # a bundle or a session
        return answers(
            sources,
            lambda several: outcomes(
                model, several, batch_size=batch_size, rate=rate, row=row, table=table, progress=progress
            ),
            Classification.failed,
            on_error,
        )
