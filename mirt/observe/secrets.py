"""The secrets of this process, and the one place that strikes them out of a text.

Logs, spans, dead letters and the errors kept of deliveries and orders all go through here, so what
a library puts into the text of its error is seen by nobody.
"""

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

STRUCK_OUT: Final = "[secret]"
SHORTEST_SECRET: Final = 4
"""A shorter value stands in too many words to be struck out of them."""
SHORTEST_PIECE: Final = 6
"""Of what a secret becomes in the middle of a longer base64."""

_HEADERS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Secrets:
    """Values that nobody may see, in every form that a library makes of them.

    As they are; percent-encoded, as in a URL or a form; escaped, as in JSON or a ``repr``; and in
    base64, alone or in the middle of something longer, as after the name in an ``Authorization``.
    """

    def __init__(self, values: Iterable[str]) -> None:
        hidden = {
            form for value in values if len(value) >= SHORTEST_SECRET for form in _forms(value)
        }
        self._forms = sorted(hidden, key=len, reverse=True)

    def struck_out(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, STRUCK_OUT)
        return text


_known = Secrets(())


def use(values: Iterable[str]) -> None:
    """Let these be the secrets of this process, with those of the trace exporter's variables."""
    global _known  # noqa: PLW0603 - a process has one configuration
    _known = Secrets([*values, *_of_the_exporter()])


def struck_out(text: str) -> str:
    """The text without the secrets of this process."""
    return _known.struck_out(text)


def _forms(secret: str) -> Iterator[str]:
    for plain in (secret, quote(secret, safe=""), quote(secret), quote(secret, safe=" +")):
        yield from (plain, _lower(plain), *_escaped(plain))
    for plain in (quote_plus(secret), quote(secret, safe="~()*!.'")):
        yield from (plain, _lower(plain))
    encoded = secret.encode(errors="replace")
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield alphabet(encoded).decode().rstrip("=")
        for before in range(3):
            piece = _piece(alphabet(b"\0" * before + encoded).decode(), before, len(encoded))
            if len(piece) >= SHORTEST_PIECE:
                yield piece


def _lower(quoted: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _escaped(plain: str) -> Iterator[str]:
    """As it stands in JSON, in a ``repr``, and in the one within the other."""
    for once in (
        json.dumps(plain)[1:-1],
        json.dumps(plain, ensure_ascii=False)[1:-1],
        repr(plain)[1:-1],
        ascii(plain)[1:-1],
        repr(plain.encode(errors="replace"))[2:-1],
        plain.replace("'", "\\'"),
        plain.replace('"', '\\"'),
    ):
        yield from (once, json.dumps(once)[1:-1], json.dumps(once, ensure_ascii=False)[1:-1])


def _piece(encoded: str, before: int, length: int) -> str:
    """What in a base64 follows from these bytes alone, not from their neighbours."""
    return encoded[-(-8 * before // 6) : 8 * (before + length) // 6]


def _of_the_exporter() -> Iterator[str]:
    # https://opentelemetry.io/docs/specs/otel/protocol/exporter/: name=value,name=value, quoted.
    for name in _HEADERS:
        for pair in os.environ.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            yield from {value, unquote(value), unquote(value).partition(" ")[2]}
    for name in _ADDRESSES:
        try:
            password = urlsplit(os.environ.get(name, "")).password
        except ValueError:
            continue
        yield from {password or "", unquote(password or "")}
