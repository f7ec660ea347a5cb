"""What every encoder-decoder can be asked, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from speechrnn.models.answers import OnError, Usable, answers
from speechrnn.tasks.sequence_to_sequence.translation import EncoderDecoder, Translation, outcomes

__all__ = ["Translates"]


class Translates(Usable):
    """The methods of encoder-decoders."""

    def translate(
        self,
        sources: Any,
        *,
        on_error: OnError = "raise",
        beam: int = 4,
        best: int = 1,
        length_penalty: float = 0.6,
        coverage_penalty: float = 0.0,
        max_length: int | None = None,
        batch_size: int = 64,
        progress: Callable[[str], object] | None = None,
    ) -> Any:
        """The target of one source, or of each of several.

        Args:
            sources: A text, or an iterable of texts.
            on_error: "raise" raises what is wrong with a source; "collect" gives a translation whose `ok` is false and
                whose `error` says why.
            beam: Sequences that are kept at each step; 1 takes the likeliest symbol every time.
            best: Sequences that are given, at most as many as the beam keeps.
            length_penalty: Exponent of the length that log probabilities are divided by.
            coverage_penalty: Weight of the penalty for source symbols that got no attention.
            max_length: Most symbols of an answer; None takes the model's own limit.
            batch_size: Sources searched at once.
            progress: Called with each source once it is done.

        Returns:
            A `Translation` for one text; for several an iterator of them, in the order given.

        Raises:
            ValueError: A number is out of its range, or, with "raise", a source is empty or has symbols that the model
                never saw, or its answer does not end within the limit.
        """
        return answers(
            sources,
            lambda several: outcomes(
                cast(EncoderDecoder, self),
                several,
                beam=beam,
                best=best,
                length_penalty=length_penalty,
                coverage_penalty=coverage_penalty,
                max_length=max_length,
                batch_size=batch_size,
                progress=progress,
            ),
            Translation.failed,
            on_error,
        )
