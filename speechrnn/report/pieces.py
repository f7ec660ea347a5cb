"""HTML components of the pages about recognizers: aligned words, players, sound, tables, numbers."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from speechrnn import audio
from speechrnn.metrics.errors import Utterance

Cell = str | int | float | None

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
"""The style sheet of the pages, for light and dark screens of any width."""

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
LEGEND = (
    '<div class="legend"><span>above: the correct words; below: the recognized words</span>'
    '<span class="wrong">substituted</span><span class="left">left out</span>'
    '<span class="more">inserted</span></div>'
)


def data_uri(content: bytes, kind: str) -> str:
    """Encode content as a `data:` URI, so that a page is self-contained."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sound(signal: np.ndarray, sample_rate: int) -> str:
    """Encode a signal as a `data:` URI of Ogg Opus (up to about 6 kB per second), or FLAC if libsndfile has no Opus.

    Args:
        signal: float32 `(samples,)`; clipped to [-1, 1].
        sample_rate: Samples per second; Opus has five rates, and others are resampled.
    """
    opus = "OPUS" in soundfile.available_subtypes("OGG")
    if opus and sample_rate not in _OPUS_RATES:
        nearest = next((rate for rate in _OPUS_RATES if rate > sample_rate), _OPUS_RATES[-1])
        signal, sample_rate = audio.resample(signal, sample_rate, nearest), nearest
    file = io.BytesIO()
    container, subtype = ("OGG", "OPUS") if opus else ("FLAC", "PCM_16")
    soundfile.write(file, np.clip(signal, -1, 1), sample_rate, format=container, subtype=subtype)
    return data_uri(file.getvalue(), "audio/ogg" if opus else "audio/flac")


def percent(rate: float, digits: int = 1) -> str:
    """Format a rate in percent; a dash for NaN.

    Example:
    >>> percent(0.0815), percent(float("nan"))
    ('8.2 %', '–')
    """
    if math.isnan(rate):
        return "–"
    return f"{100 * rate:,.{digits}f} %" if math.isfinite(rate) else "∞"


def interval(bounds: Sequence[float]) -> str:
    """Format the bounds of an interval in percent; "" if they are not finite.

    Example:
    >>> interval((0.05, 0.1234))
    '5.0 to 12.3 %'
    """
    low, high = bounds
    return f"{100 * low:.1f} to {percent(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def aligned(utterance: Utterance) -> str:
    """The reference words with the recognized words below, errors in color."""
    pairs = []
    for true, recognized in utterance.words.pairs:
        kind = "" if true == recognized else " left" if recognized is None else " more" if true is None else " wrong"
        above, below = (html.escape(str(word)) if word is not None else "–" for word in (true, recognized))
        pairs.append(f'<div class="pair{kind}"><b>{above}</b><span>{below}</span></div>')
    return f'<div class="pairs" dir="auto">{"".join(pairs)}</div>'


def utterance_card(utterance: Utterance, sound: str = "", *, more: str = "", note: str = "") -> str:
    """Card of an utterance: its aligned words, its speaker, and a player.

    Args:
        utterance: The scored utterance.
        sound: A `data:` URI of the recording, or "".
        more: HTML at the bottom of the card.
        note: Text after the speaker's name.
    """
    caption = " · ".join(filter(None, (utterance.id, utterance.subject, note)))
    player = f'<audio controls preload="metadata" src="{sound}"></audio>' if sound else ""
    return (
        f'<div class="card"><div class="utterance"><div>{aligned(utterance)}'
        f'<div class="soft">{html.escape(caption)}</div></div>{player}</div>{more}</div>'
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, shares: bool = False) -> str:
    """An HTML table; numbers are right-aligned.

    Args:
        headings: Heading of each column.
        rows: Text, integers, or fractions (float), which are written in percent.
        shares: The last cell of each row is a fraction in [0, 1], drawn as a bar under an empty heading.
    """
    rows = [list(row) for row in rows]
    first = rows[0] if rows else [""] * len(headings)
    numeric = [isinstance(cell, int | float) and not isinstance(cell, bool) for cell in first]
    head = "".join(
        f"<th{' class=n' if number else ''}>{html.escape(name)}</th>"
        for name, number in zip(headings, numeric, strict=False)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, bar=shares and index == len(row) - 1) for index, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}{'<th></th>' if shares else ''}</tr>{body}</table>"


def _cell(cell: Cell, *, bar: bool) -> str:
    if bar:
        width = 100 * min(max(float(cell or 0), 0), 1) if math.isfinite(float(cell or 0)) else 100
        return f'<td class="share"><i style="width:{width:.1f}%"></i></td>'
    if isinstance(cell, int):
        return f'<td class="n">{cell:,}</td>'
    if isinstance(cell, float):
        return f'<td class="n">{percent(cell)}</td>'
    text = cell or ""
    return f"<td{' class=k' if len(text) < 24 else ''}>{html.escape(text)}</td>"
