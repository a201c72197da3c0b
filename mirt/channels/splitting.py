"""Split a reply into parts that a channel takes, at the breaks of its text."""

import re
from typing import Final

_BREAKS: Final = (re.compile(r"\n[^\S\n]*\n"), re.compile(r"\n"), re.compile(r"\s"))


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units, as Telegram counts; most emoji have two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def well_formed(text: str) -> str:
    """Return the text as UTF-8 and databases can store it: no NUL, no half of a surrogate pair."""
    units = text.replace("\0", "").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def split_text(text: str, limit: int) -> list[str]:
    """Return parts of at most ``limit`` UTF-16 code units. No part is blank; only space is lost.

    Each part ends at the last paragraph that fits, else at the last line, else at the last word,
    else at the limit, but never within a surrogate pair.
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
    window = text[: len(fitting) + 2]  # a break may begin just after the limit
    for pattern in _BREAKS:
        ends = [found.start() for found in pattern.finditer(window)]
        if ends := [end for end in ends if end <= len(fitting)]:
            return ends[-1]
    return len(fitting)
