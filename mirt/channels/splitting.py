"""Cut a reply into parts that a channel takes, where a reader would."""

import re
from typing import Final

_BREAKS: Final = (re.compile(r"\n[^\S\n]*\n"), re.compile(r"\n"), re.compile(r"\s"))


def utf16_length(text: str) -> int:
    """The length that Telegram counts: UTF-16 code units, two for most emoji."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def well_formed(text: str) -> str:
    """The text as UTF-8 and databases can carry it: no NUL, and no half of a surrogate pair."""
    units = text.replace("\0", "").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def split_text(text: str, limit: int) -> list[str]:
    """Parts of at most ``limit`` UTF-16 code units, none of them blank, nothing lost but space.

    Each part ends at the last paragraph that fits, else at the last line, else at the last word,
    else anywhere but within a surrogate pair.
    """
    rest = well_formed(text).strip()
    parts = []
    while utf16_length(rest) > limit:
        end = _end_of_part(rest, limit)
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*parts, rest] if rest else parts


def _end_of_part(text: str, limit: int) -> int:
    fitting = text.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore")
    window = text[: len(fitting) + 2]  # a break may begin just behind what fits
    for pattern in _BREAKS:
        ends = [found.start() for found in pattern.finditer(window)]
        if ends := [end for end in ends if end <= len(fitting)]:
            return ends[-1]
    return len(fitting)
