"""Split a reply into parts that a channel takes, at the breaks of its text."""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

_BREAKS: Final = (re.compile(r"\n[^\S\n]*\n"), re.compile(r"\n"), re.compile(r"\s"))
_LONGEST_CLUSTER: Final = 32
"""Code points after which a character with marks is cut, so that no run of marks is endless."""
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters and overrides of the direction: a reply has no use for them."""
_JOINER: Final = "\N{ZERO WIDTH JOINER}"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units, as Telegram counts; most emoji have two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf8_length(text: str) -> int:
    """Return the length in bytes of UTF-8, as Instagram counts; a Cyrillic letter has two."""
    return len(text.encode("utf-8", "surrogatepass"))


def well_formed(text: str) -> str:
    """Return the text as UTF-8 and databases can store it: no NUL, no half of a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    units = text.replace("\0", "").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def sendable(text: str) -> str:
    """Return a reply as it is sent: well formed, with no control characters but breaks and tabs."""
    return _OBEYED.sub("", well_formed(text).replace("\r\n", "\n")).strip()


def split_text(text: str, limit: int, length: Callable[[str], int] = utf16_length) -> list[str]:
    """Return parts of at most ``limit`` units of ``length``. No part is blank; only space is lost.

    The text is made ``sendable`` first.

    Each part ends at the last paragraph that fits, else at the last line, else at the last word,
    else at the limit, but never within a character, which may have several code points.
    """
    rest = sendable(text)
    parts: list[str] = []
    while length(rest) > limit:
        end = _end_of_part(rest, limit, length)
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*parts, rest] if rest else parts


def _end_of_part(text: str, limit: int, length: Callable[[str], int]) -> int:
    fitting = _longest_prefix(text, limit, length)
    window = text[: fitting + 2]  # a break may begin just after the limit
    for pattern in _BREAKS:
        ends = [found.start() for found in pattern.finditer(window)]
        if ends := [end for end in ends if end <= fitting]:
            return ends[-1]
    return _start_of_character(text, fitting)


def _longest_prefix(text: str, limit: int, length: Callable[[str], int]) -> int:
    """Return how many code points fit into ``limit`` units, by bisection."""
    low, high = 1, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if length(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _start_of_character(text: str, end: int) -> int:
    """Return the start of the character that ``end`` would cut; ``end`` if it cuts none."""
    for start in range(end, max(0, end - _LONGEST_CLUSTER), -1):
        if not _is_continued(text, start):
            return start
    return end


def _is_continued(text: str, at: int) -> bool:
    """Whether the code point at this index belongs to the character before it."""
    if at >= len(text):
        return False
    after, before = text[at], text[at - 1]
    if _is_flag(after) and _is_flag(before):
        flags = 0
        while flags < at and _is_flag(text[at - 1 - flags]):
            flags += 1
        return flags % 2 == 1
    return (
        _JOINER in (before, after)
        or unicodedata.category(after) in {"Mn", "Me", "Mc"}
        or ord(after) in _SKIN_TONES
    )


def _is_flag(character: str) -> bool:
    """Whether it is a regional indicator; two of them are a flag."""
    return 0x1F1E6 <= ord(character) <= 0x1F1FF
