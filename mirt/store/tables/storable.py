"""Texts and JSON of other people's making, as a database can keep them.

PostgreSQL takes no NUL character and no half of a surrogate pair, in no text and in no JSON. What
comes from outside may hold both, and what cannot be written down would be lost.
"""

import json
import re
from typing import Any, Final

_NUL_IN_JSON: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def storable(text: str) -> str:
    """The text, with what PostgreSQL takes for no text (NUL, half a surrogate pair) replaced.

    What an error says may quote anything, and must not keep its own record from being written.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def storable_json(value: Any) -> str:
    """JSON whose texts are ``storable``."""
    written = json.dumps(value, ensure_ascii=False)
    return storable(_NUL_IN_JSON.sub("\\1\0", written))
