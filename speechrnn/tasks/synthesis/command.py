"""Voices on the command line."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any, ClassVar

from speechrnn.faults import data_error, read_text
from speechrnn.models.commands import Command

_OPTIONS = "speechrnn.tasks.synthesis.options"
_UNKNOWN = 0xFFFFFFFF
"""Length in a WAV header that is not known yet, or too large."""
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


class SpeakCommand(Command):
    """Read texts aloud."""

    summary = "Read texts aloud."
    epilog = """\
The output is a 16-bit WAV file, which can be played while it is written: `speechrnn speak ... | aplay`. With --out-dir
each sentence has its own file. With --json each line has the phones of a sentence, and the end time of each.
"""
    source = ("TEXT", "A text to read aloud.")
    default_model = "english_voice"
    formats: ClassVar[Mapping[str, bool]] = {"wav": True, "json": True}
    binary = frozenset({"wav"})
    run_options = (f"{_OPTIONS}:SpeakingOptions", f"{_OPTIONS}:TextOptions")
    source_options = frozenset({"from_files"})
    write_options = (f"{_OPTIONS}:PauseOptions",)
    trained_on = "recordings of one speaker: manifests that `speechrnn.tasks.synthesis.aligned` made"
    training_options = (f"{_OPTIONS}:SynthesizerTraining",)
    network_options = (f"{_OPTIONS}:VoiceNetwork",)
    evaluation_options = (f"{_OPTIONS}:VoiceEvaluation",)
    details = True

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether the line is an aligned recording."""
        known = {**line, **(line.get("extra") or {})}
        return "ends" in known and "phones" in known

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; a source is a text, not a path, and each of its sentences becomes a source."""
        from speechrnn.tasks.synthesis.text_normalization import sentences

        texts: list[Any] = list(sources)
        if options.get("from_files"):
            texts = [one for path in sources for one in self.read_or_fault(path, _texts)]
        parts = [part for text in texts for part in (isinstance(text, str) and sentences(text)) or [text]]
        return [(part, f"sentence{number}") for number, part in enumerate(parts, start=1)]

    def header(self, model: Any, format: str) -> bytes:
        """The header of a WAV file."""
        rate, size = model.sample_rate, _UNKNOWN - 36
        return _HEADER.pack(b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)

    def render(self, answer: Any, format: str, *, name: str | None, pause: float = 0.0, **options: Any) -> bytes:
        """Samples of 16 bits, followed by the pause."""
        import numpy as np  # which a help text does not need

        samples = np.rint(np.clip(answer.signal, -1, 1) * 32767).astype("<i2").tobytes()
        return samples + bytes(2 * round(pause * answer.sample_rate))

    def finish(self, file: IO[bytes], format: str) -> None:
        """Write the file's length to its header."""
        size = file.tell() - _HEADER.size
        for position, value in ((4, size + 36), (_HEADER.size - 4, size)):
            file.seek(position)
            file.write(struct.pack("<I", min(value, _UNKNOWN)))


def _texts(path: str) -> list[str]:
    """The text in a file, which must have one."""
    text = read_text(path)
    if not text.strip():
        raise data_error(path, "empty", "has no text. Leave it out.")
    return [text]
