"""Methods that all encoder-decoders share, bundles and sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechrnn.faults import options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions
from speechrnn.tasks.sequence_to_sequence.pairs import is_pair
from speechrnn.tasks.sequence_to_sequence.translation import Translation


class SequenceMethods(ModelMethods):
    """The methods of encoder-decoders."""

    is_example = staticmethod(is_pair)

    @options_as_keywords(SearchOptions)
    def translate(  # noqa: D417 - the decorator adds the options
        self,
        sources: Any,
        *,
        options: SearchOptions,
        on_error: OnError = "raise",
        progress: Callable[[str], object] | None = None,
    ) -> Any:
        """Translate one text or several.

        Args:
            sources: A text, or an iterable of texts.
            on_error: "raise" raises the error of a source that fails; "collect" gives a translation whose `ok` is false
                and whose `error` says why.
            progress: Called with each source once it is done.

        Returns:
            A `Translation` for one text; for several an iterator of them, in order.

        Raises:
            ValueError: A number is out of its range, or, with "raise", a source is empty or has symbols that the model
                never saw, or its answer does not end within the limit.
        """
        return self._answer(Translation, sources, on_error, progress=progress, **vars(options))
