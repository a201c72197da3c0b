"""The colours of the style sheet, and their contrast as WCAG computes it."""

import re
from pathlib import Path
from typing import Final

from service.admin_ui import static

_CSS: Final = (Path(static.FOLDER) / "ops.css").read_text(encoding="utf-8")
_LIGHT, _DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", _CSS, re.DOTALL)
)
STYLE: Final = {"light": _LIGHT, "dark": _LIGHT | _DARK}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
