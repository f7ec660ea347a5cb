"""Methods that all recognizers share, bundles and sessions."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from speechrnn.faults import check_options, options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError, is_one
from speechrnn.tasks.recognition.options import RecognitionOptions
from speechrnn.tasks.recognition.transcript import Transcript


class RecognizerMethods(ModelMethods):
    """The methods of recognizers."""

    @options_as_keywords(RecognitionOptions)
    def transcribe(  # noqa: D417 - the decorator adds the options
        self,
        sources: Any,
        *,
        options: RecognitionOptions,
        on_error: OnError = "raise",
        decoder: Any = None,
        calibration: Any = None,
        progress: Callable[[str], None] | None = None,
        **decoding: Any,
    ) -> Any:
        """Transcribe one recording or several.

        Args:
            sources: An audio file, an `Example`, a binary stream, or `(samples, sample_rate)`; or an iterable of these.
            on_error: "raise" raises the error of a recording that fails; "collect" gives a transcript whose `ok` is
                false and whose `error` says why.
            decoder: A decoder, such as a `speechrnn.decoding.BeamSearch`, instead of options of the search.
            calibration: Converts the words' confidences to probabilities that they are right: a
                `speechrnn.metrics.calibration.Calibration`, or its file.
            progress: Called with the path of each recording once it is done.
            **decoding: Options of the search: `beam`, `lm`, `hotwords` and others; see
                `speechrnn.tasks.language.rescoring.decoder`.

        Returns:
            A `Transcript` for one source; for several, or for each channel, an iterator of them, in order.

        Raises:
            OSError, ValueError: With "raise", a recording cannot be read or transcribed.
            TypeError: An option is unknown.

        Example:
        >>> import speechrnn as sr
        >>> result = sr.load("english_letters_numbers").transcribe("no.wav", on_error="collect")
        >>> result.ok, result.error
        (False, 'no.wav: there is no such file. Check the path.')
        """
        from speechrnn.decoding.options import decoder as search_decoder
        from speechrnn.metrics.calibration import Calibration
        from speechrnn.tasks.language.rescoring import decoder as rescoring_decoder
        from speechrnn.tasks.recognition import attachments

        declared = {name for f in (search_decoder, rescoring_decoder) for name in inspect.signature(f).parameters}
        if "sample_rate" in decoding:
            raise TypeError(
                "`transcribe` has no option `sample_rate`. Samples are given with it: `(samples, sample_rate)`."
            )
        own = inspect.signature(RecognizerMethods.transcribe).parameters.keys() - {"self", "sources", "decoding"}
        check_options(decoding, sorted(own | declared - {"vocabulary", "search"}), "transcribe")
        if decoder is not None and decoding:
            raise ValueError(f"`decoder` is made already, so that {', '.join(decoding)} cannot be given beside it.")
        decoder = attachments.decoder(self, **decoding) if decoder is None else decoder
        if isinstance(calibration, str | os.PathLike):
            calibration = Calibration.read(calibration)
        if options.each_channel and is_one(sources):
            sources = [sources]
        run_options = {"decoder": decoder, "calibration": calibration, "progress": progress, **vars(options)}
        return self._answer(Transcript, sources, on_error, **run_options)
