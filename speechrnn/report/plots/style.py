"""Shared by the plots: the pages' colors, axes without a frame, and figures as SVG."""

from __future__ import annotations

import base64
import html
import io
import re
from typing import TYPE_CHECKING

from speechrnn.report.pieces import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE: dict[str, str] = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", STYLE.partition("@media")[0]))
"""The pages' colors by name, in the light theme; in a page they follow the theme."""
DARK = tuple(PALETTE[name] for name in ("one", "two", "three", "four", "five", "six", "seven"))
"""Colors of lines, in order."""
CLASSES = (*DARK, "#9dc3ee", "#f2b0b7", "#a3d9b8", "#f7d08a", "#cdbbe8")
"""Colors of areas, the maximum number of classes with distinct colors."""


def blank(width: float, height: float) -> Figure:
    """Create a figure without axes; width and height are in inches.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        message = "Charts need matplotlib and librosa. Install them: pip install 'speechrnn[report]'."
        raise ModuleNotFoundError(message, name=error.name) from error
    return Figure(figsize=(width, height), layout="constrained")


def without_frame(*every: Axes) -> None:
    """Remove the top and right lines of the axes' frames."""
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)


def svg(figure: Figure, label: str, *, least: float = 0) -> str:
    """Convert a figure to an SVG element for a page, as wide as its container, in the page's colors and fonts.

    Args:
        figure: A figure from this package.
        label: Description for screen readers.
        least: Minimum width in pixels; the maximum width is 1.4 times as much.
    """
    import matplotlib

    file = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "speechrnn"}):
        figure.savefig(file, format="svg", transparent=True, metadata=metadata, dpi=110)
    head, _, body = file.getvalue().partition("</defs>")  # definitions for the whole page, which are in `STYLE`
    for color, name in {**{color: name for name, color in PALETTE.items()}, "#000000": "soft"}.items():
        body = body.replace(color, f"var(--{name})")
    for pattern, new in (
        (r'data:image/png;base64,([^"]+)', lambda match: _smaller(match[1])),
        (r' id="[a-zA-Z]+_\d+"', ""),  # ids repeat in every figure
        (r"xlink:href", "href"),
        (r";? ?font-family: [^;\"]*", ""),
        (r"<!--.*?-->", ""),
        (r"<[^>]+>", lambda match: re.sub(r"(\d\.\d\d)\d+", r"\1", match[0])),
        (r"\n\s*", "\n"),
    ):
        body = re.sub(pattern, new, body)
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    narrow = f' style="min-width:{least:g}px;max-width:{1.4 * least:g}px"' if least else ""
    return f'<svg {box} role="img" aria-label="{html.escape(label)}"{narrow}>{body}'


def _smaller(content: str) -> str:
    """Reduce a PNG image to 64 colors, without a visible difference."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB").quantize(64).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
