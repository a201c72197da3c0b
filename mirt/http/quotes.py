"""Strike out what the error of an outside service quotes of a customer.

The text of such an error goes into logs, events, dead letters and pages. A service can quote what
we have sent to it, and what it knows of the customer itself. So these are struck out: each word of
the request and of the task's private arguments, e-mail addresses, and numbers as long as a phone's.
The other words stay: they tell an operator what is wrong.

>>> strike_out("phone +380 50 123-45-67 of Коваль is on the stop list", {"full_name": "Коваль"})
'phone […] of […] is on the stop list'
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

STRUCK: Final = "[…]"
PUBLIC: Final = frozenset(
    {
        *("role", "model", "type", "version", "source", "status", "tools", "parse_mode", "action"),
        *("payment_method", "delivery_method", "method", "tag_name", "field_name", "platform"),
        *("channel", "session_id", "task_id", "trace_id"),
    }
)
"""Names of values that are the words of our own."""
_SYSTEM: Final = "system"
_WORD: Final = re.compile(r"[^\W_]+(?:['’ʼ-][^\W_]+)*")
_SHORTEST: Final = 3
_SHORTEST_ASCII: Final = 4
"""Letters of a word that is struck out. Shorter ones are parts of every sentence."""
_EMAIL: Final = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.\w+")
_NUMBER: Final = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")


def strike_out(text: str, *known: Any) -> str:
    """Return the text without what it quotes of the ``known`` values, which may be nested."""
    words = {word for value in known for word in _words(value)}
    text = _NUMBER.sub(STRUCK, _EMAIL.sub(STRUCK, text))
    return _WORD.sub(lambda found: STRUCK if found[0].casefold() in words else found[0], text)


def _words(value: Any) -> Iterator[str]:
    match value:
        case str():
            for found in _WORD.finditer(value):
                word = found[0].casefold()
                if len(word) >= (_SHORTEST_ASCII if word.isascii() else _SHORTEST):
                    yield word
                    # A service may quote a part of a double name.
                    yield from (part for part in word.split("-") if len(part) >= _SHORTEST_ASCII)
        case Mapping():
            if value.get("role") != _SYSTEM:
                for name, inner in value.items():
                    if name not in PUBLIC:
                        yield from _words(inner)
        case Collection():
            for inner in value:
                yield from _words(inner)
