"""What the plots share: the pages' colors, axes without a frame, and a figure as part of a page."""

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
"""The colors of the pages by light, by name; in a page they follow the screen."""
DARK = tuple(PALETTE[name] for name in ("one", "two", "three", "four", "five", "six", "seven"))
"""Colors of lines, one after another."""
CLASSES = (*DARK, "#9dc3ee", "#f2b0b7", "#a3d9b8", "#f7d08a", "#cdbbe8")
"""Colors of areas: as many classes can be told from each other."""


def blank(width: float, height: float) -> Figure:
    """A figure without axes, in inches.

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
    """Take the upper and the right line of the frame away."""
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)


def svg(figure: Figure, label: str, *, least: float = 0) -> str:
    """A figure as an SVG element for a page, as wide as its container, in the page's colors and letters.

    Args:
        figure: From any function here.
        label: What a screen reader says of it.
        least: Pixels that it is wide at least; then it is no wider than its text bears either.
    """
    import matplotlib

    file = io.StringIO()
    about = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "speechrnn"}):
        figure.savefig(file, format="svg", transparent=True, metadata=about, dpi=110)
    head, _, body = file.getvalue().partition("</defs>")  # a style for the whole page, which `STYLE` has
    for color, name in {**{color: name for name, color in PALETTE.items()}, "#000000": "soft"}.items():
        body = body.replace(color, f"var(--{name})")
    for pattern, new in (
        (r'data:image/png;base64,([^"]+)', lambda found: _smaller(found[1])),
        (r' id="[a-zA-Z]+_\d+"', ""),  # every figure has a patch_2
        (r"xlink:href", "href"),
        (r";? ?font-family: [^;\"]*", ""),
        (r"<!--.*?-->", ""),
        (r"<[^>]+>", lambda found: re.sub(r"(\d\.\d\d)\d+", r"\1", found[0])),
        (r"\n\s*", "\n"),
    ):
        body = re.sub(pattern, new, body)
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    narrow = f' style="min-width:{least:g}px;max-width:{1.4 * least:g}px"' if least else ""
    return f'<svg {box} role="img" aria-label="{html.escape(label)}"{narrow}>{body}'


def _smaller(content: str) -> str:
    """A picture of 64 colors in the place of one of 16 million, without a difference that can be seen."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB").quantize(64).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
