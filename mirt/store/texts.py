"""Texts and JSON of other people's making, as a database can keep them.

PostgreSQL takes no NUL character, in no text and in no JSON, and nothing takes half of a surrogate
pair. What comes from outside may hold both, and what cannot be written down would be lost.
"""

import json
import re
from typing import Any, Final

_NUL_IN_JSON: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def keepable(text: str) -> str:
    """The text without NUL, and with a replacement character for half of a pair."""
    units = text.replace("\0", "").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def keepable_json(value: Any) -> str:
    """JSON whose texts are ``keepable``."""
    written = json.dumps(value, ensure_ascii=False)
    return keepable(_NUL_IN_JSON.sub(r"\1", written))
