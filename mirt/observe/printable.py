r"""Make text from outside printable: a terminal, a log or a page shows it and obeys none of it.

Names, texts, ids, paths and the errors of outside services may hold characters that move the
cursor, set the clipboard, end a line or turn the direction of writing. They are shown in a visible
form instead: ``␛`` for ESC, ``\u202e`` for an override of the direction.
"""

import re
from typing import Final

_OBEYED: Final = (
    "\x7f-\x9f"  # DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing
    "\u2028\u2029"  # ends of lines and paragraphs
    "\ud800-\udfff"  # halves of surrogate pairs, which no encoding takes
)
_IN_A_LINE: Final = re.compile(f"[\x00-\x08\x0a-\x1f{_OBEYED}]")
_IN_A_BLOCK: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_OBEYED}]")
_IN_JSON: Final = re.compile(f"[{_OBEYED}]")
_PICTURES: Final = 0x2400
"""First of the characters that show the names of C0, like ``␛``."""


def printable(text: str) -> str:
    r"""Return the text as one line, with a visible form for every control character but tab.

    >>> printable("Eve\x1b[2J\nroot")
    'Eve␛[2J␊root'
    """
    return _IN_A_LINE.sub(_visible, text)


def printable_block(text: str) -> str:
    """Return the text like ``printable``, in the lines that it has."""
    return _IN_A_BLOCK.sub(_visible, text.replace("\r\n", "\n"))


def without_controls(text: str) -> str:
    """Return the text in its lines, without control characters: for texts that we send."""
    return _IN_A_BLOCK.sub("", text.replace("\r\n", "\n"))


def printable_json(document: str) -> str:
    """Return JSON with an escape for each control character that ``json.dumps`` leaves as it is."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "␡" if code == 0x7F else f"\\u{code:04x}"
