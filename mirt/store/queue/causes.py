"""Name the cause of a failure, so that operators decide about dead letters of one cause at once."""

import re
from typing import Final

LONGEST: Final = 160
"""Characters of a cause. It is a column that dead letters are grouped by."""

_VARYING: Final = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # a UUID
    r"|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"  # an id in hexadecimal
    r"|\d+\.\d+|\d{4,}"  # a duration, and every number that is no status
    r"|(?<=[\"'`«]).{3,80}?(?=[\"'`»])",  # what is quoted
    re.IGNORECASE,
)


def cause_of(exception: str) -> str:
    """Return the error without its ids, long numbers and quotations; a status of HTTP stays.

    >>> cause_of("PermanentError: telegram: 400 Bad Request: chat 1234567 not found")
    'PermanentError: telegram: 400 Bad Request: chat … not found'
    """
    line = " ".join(exception.split())
    cause = _VARYING.sub("…", line)
    return cause if len(cause) <= LONGEST else f"{cause[: LONGEST - 1]}…"
