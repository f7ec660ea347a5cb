"""What every recognizer can be asked, whatever runs it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from speechrnn.data.manifest import Example
from speechrnn.faults import check_options
from speechrnn.models.answers import OnError, Usable, answers
from speechrnn.tasks.recognition.transcript import Transcript

__all__ = ["Transcribes"]


class Transcribes(Usable):
    """The methods of recognizers."""

    def transcribe(
        self,
        sources: Any,
        *,
        on_error: OnError = "raise",
        batch_seconds: float = 60.0,
        piece_seconds: float = 30.0,
        encoding: str | None = None,
        channel: int | None = None,
        each_channel: bool = False,
        decoder: Any = None,
        calibration: Any = None,
        progress: Callable[[str], None] | None = None,
        **decoding: Any,
    ) -> Any:
        """Write down what is said in one recording, or in several.

        Args:
            sources: An audio file, an `Example`, or a binary stream; or an iterable of these.
            on_error: "raise" raises what is wrong with a recording; "collect" gives a transcript whose `ok` is false
                and whose `error` says why.
            batch_seconds: Audio recognized at once, padding counted.
            piece_seconds: Longest stretch recognized in one go.
            encoding: What headerless samples are, such as s16le@16000.
            channel: Channel of the recordings that is read, counted from 0; the mean of all by default.
            each_channel: Give a transcript for every channel, as of a call with a speaker on each.
            decoder: A search that is made already, such as a `speechrnn.decoding.BeamSearch`, instead of its options.
            calibration: Turns the words' confidences into probabilities of their being right.
            progress: Called with the path of each recording once it is done.
            **decoding: Options of the search: `beam`, `lm`, `hotwords` and others; see
                `speechrnn.tasks.language.rescoring.decoder`.

        Returns:
            A `Transcript` for one source; for several, or for each channel, an iterator of them, in the order given.

        Raises:
            OSError, ValueError: With "raise", what is wrong with a recording.
            TypeError: There is no such option.

        Example:
        >>> import speechrnn as sr
        >>> result = sr.load("english_letters_numbers").transcribe("no.wav", on_error="collect")
        >>> result.ok, result.error
        (False, 'no.wav: there is no such file. Check the path.')
        """
        from speechrnn.tasks.language import rescoring
        from speechrnn.tasks.recognition import carried
        from speechrnn.tasks.recognition.transcription import by_channel, outcomes

        known = [
            name for name in inspect.signature(rescoring.decoder).parameters if name not in ("vocabulary", "search")
        ]
        known += inspect.signature(_options()).parameters
        check_options(
            decoding, dict.fromkeys(name for name in known if name not in ("vocabulary", "search")), "transcribe"
        )
        if decoder is not None and decoding:
            raise ValueError(f"`decoder` is made already, so that {', '.join(decoding)} cannot be given beside it.")
        search = carried.decoder(self, **decoding) if decoder is None else decoder
        if each_channel:
            if channel is not None:
                raise ValueError(f"`channel` and `each_channel` exclude each other. Received: channel={channel}.")
            one = isinstance(sources, str | os.PathLike | Example) or hasattr(sources, "read")
            sources = by_channel([sources] if one else sources, encoding=encoding)
        model: Any = self  # a bundle or a session
        return answers(
            sources,
            lambda several: outcomes(
                model,
                several,
                batch_seconds=batch_seconds,
                piece_seconds=piece_seconds,
                encoding=encoding,
                channel=channel,
                decoder=search,
                calibration=calibration,
                progress=progress,
            ),
            Transcript.failed,
            on_error,
        )


def _options() -> Callable[..., Any]:
    from speechrnn.decoding import options

    return options.decoder
