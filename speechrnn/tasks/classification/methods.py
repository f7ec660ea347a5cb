"""Methods that all classifiers share, bundles and sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechrnn.faults import options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError
from speechrnn.tasks.classification.options import ClassificationOptions


class ClassifierMethods(ModelMethods):
    """The methods of classifiers."""

    @options_as_keywords(ClassificationOptions)
    def classify(  # noqa: D417 - the decorator adds the options
        self,
        sources: Any,
        *,
        options: ClassificationOptions,
        on_error: OnError = "raise",
        table: Any = None,
        progress: Callable[[str], None] | None = None,
    ) -> Any:
        """Classify one record or several.

        Args:
            sources: A file of signals or audio, or an `Example`; for a classifier of texts a text, or the `Path` of a
                text file; or an iterable of these.
            on_error: "raise" raises the error of a record that fails; "collect" gives an answer whose `ok` is false and
                whose `error` says why.
            table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
            progress: Called with the path of each record once it is done.

        Returns:
            A `Classification` for one source; for several an iterator of them, in order.

        Raises:
            OSError, ValueError: With "raise", a record cannot be read or classified.
        """
        from speechrnn.tasks.classification.classify import Classification

        return self._answer(Classification, sources, on_error, table=table, progress=progress, **vars(options))
