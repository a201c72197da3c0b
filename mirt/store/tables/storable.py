"""Make texts and JSON from outside storable.

PostgreSQL refuses a NUL character and half a surrogate pair, in text and in JSON. Input from
outside may contain both, and a row that cannot be written would be lost.
"""

import json
import re
from typing import Any, Final

_NUL_IN_JSON: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def storable(text: str) -> str:
    """Return the text with NUL characters and halves of surrogate pairs replaced.

    The text of an error may quote anything and must not prevent its own record.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def storable_json(value: Any) -> str:
    """Return the value as JSON whose texts are storable."""
    encoded = json.dumps(value, ensure_ascii=False)
    return storable(_NUL_IN_JSON.sub("\\1\0", encoded))
