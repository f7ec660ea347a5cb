"""Find the time of each word of a known text in a recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from speechrnn import decoding, text
from speechrnn.cli import terminal
from speechrnn.cli.decoding import calibration as calibration_of
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.faults import read_text
from speechrnn.text import lexicons

if TYPE_CHECKING:
    from speechrnn.tasks.recognition import Transcript

_EPILOG = """\
The text is converted to lower case without punctuation first, unless the model has other characters. A CTC model tends
to write a symbol a little late: --shift corrects all times by a delay that was measured on aligned recordings.

A model of phones needs the words' pronunciations, from the lexicon in its file or from --lexicon.

The exit code is 2 if the text cannot be aligned: it has characters that the model lacks, words that the lexicon lacks,
or is too long for the audio.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("align", align, epilog=_EPILOG)


def align(
    audio: str,
    spoken: Annotated[str, "TEXT"],
    /,
    *,
    model: Annotated[str | None, "MODEL"] = None,
    lexicon: Annotated[str | None, "FILE"] = None,
    format: Literal["json", "ctm", "textgrid"] = "json",
    shift: tuple[float, ...] = (0.0,),
    calibration: Annotated[str | None, "FILE"] = None,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Find the time of each word of a known text in a recording.

    Args:
        audio: A recording.
        spoken: The text that is spoken in it; `@FILE` reads it from a file.
        model: A .onnx or .keras recognizer, or the name of an included model; by default `english`.
        lexicon: Lexicon of words and their pronunciations; by default the one in the model's file. A model of phones
            needs it.
        format: Format of the results.
        shift: Seconds added to all times; of two numbers the first to starts, the second to ends.
        out: a file; by default standard output.
    """
    import numpy as np

    from speechrnn.tasks.recognition import attachments, phones
    from speechrnn.tasks.recognition.model_types import ctc_logits
    from speechrnn.tasks.recognition.transcript import Transcript, shift_times, spell
    from speechrnn.tasks.recognition.transcription import read_whole

    if not all(map(math.isfinite, shift)):
        raise UsageError(f"--shift must be finite numbers of seconds. Received: {' '.join(map(str, shift))}.")
    if not 1 <= len(shift) <= 2:
        raise UsageError(
            f"--shift is one number for all times, or one for starts and one for ends. Received: {len(shift)}."
        )
    if spoken.startswith("@"):
        spoken = read_text(spoken[1:])
    with terminal.output(out, overwrite=overwrite) as file:
        session = terminal.load_model(model)
        signal = read_whole(audio, session.sample_rate)
        spoken, logits = " ".join(spoken.split()), ctc_logits(session, session.logits([signal])[0])
        lexicon = lexicon or attachments.attached_options(session).get("lexicon")
        if lexicon or session.vocabulary.missing(spoken):
            spoken = text.normalize(spoken)
        try:
            if lexicon:
                path = phones.align_words(logits, spoken, lexicons.load(lexicon), session.vocabulary)
            else:
                path = decoding.align(logits, session.vocabulary.encode(spoken))
        except ValueError as error:
            raise ValueError(f"{audio}: {error}") from error
        duration = len(signal) / session.sample_rate
        aligned = spell(path, session.vocabulary, frame_period=session.frame_period)
        aligned = shift_times(aligned, duration, start=shift[0], end=shift[-1])
        calibrated = calibration_of(calibration)
        if calibrated:
            confidences = calibrated(np.array([word.confidence for word in aligned]))
            aligned = [replace(word, confidence=float(value)) for word, value in zip(aligned, confidences, strict=True)]
        transcript = Transcript(audio, spoken, tuple(aligned), duration)
        print(_render(transcript, format), file=file, flush=True)
    return 0


def _render(transcript: Transcript, format: str) -> str:
    if format == "json":
        return terminal.as_json(transcript.to_dict(), indent=1)
    if format == "ctm":
        from speechrnn.tasks.recognition import formats

        return formats.render(transcript, "ctm").rstrip("\n")
    from speechrnn.decoding import textgrid

    words = [(w.start, w.end, w.word) for w in transcript.words]
    return textgrid.write({"words": words}, transcript.duration).rstrip("\n")
