"""`speechrnn.transcribe`: speech to text in one call."""

from __future__ import annotations

from typing import Any

from speechrnn.models import loading


def transcribe(sources: Any, *, model: Any = None, **options: Any) -> Any:
    """Transcribe one recording or several, with the included model or another one.

    Args:
        sources: An audio file, an `Example`, a binary stream, or `(samples, sample_rate)`; or an iterable of these.
        model: A recognizer, its path, or the name of an included one; by default `english`.
        **options: `beam`, `lm`, `hotwords`, `on_error` and others; see `RecognizerMethods.transcribe`.

    Returns:
        A `Transcript` for one source; for several an iterator of them, in order.

    Raises:
        FileNotFoundError: A recording or the model does not exist.
        ValueError: A recording cannot be read, or the model is of another kind.

    Example:
    >>> import os, numpy as np, speechrnn as sr, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "silence.wav")
    >>> sr.audio.write(path, np.zeros(16000, "float32"), 16000)
    >>> sr.transcribe(path).duration
    1.0
    """
    return loading.open_model(model, "recognizer").transcribe(sources, **options)
