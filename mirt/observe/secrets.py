"""Redacts the secrets of this process in any text.

Logs, spans, dead letters and the stored errors of deliveries and orders are redacted here, so a
secret that a library puts into the text of its error stays hidden.
"""

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

REDACTED: Final = "[secret]"
SHORTEST_SECRET: Final = 4
"""Characters. A shorter value is part of too many ordinary words."""
SHORTEST_PIECE: Final = 6
"""Characters of the part of a longer base64 text that a secret determines."""

_HEADERS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


_OWN_FORMS: Final = {
    " ": [r"\+"],
    "%": ["%%"],
    "\n": [r"\\+n"],
    "\r": [r"\\+r"],
    "\t": [r"\\+t"],
}


class Secrets:
    """Values to redact, in every form that a library makes of them.

    The forms are: plain; percent-encoded, as in a URL or a form; escaped any number of times, as in
    JSON and in its ``repr``; and base64, alone or inside a longer text, as after the name in an
    ``Authorization`` header.
    """

    def __init__(self, values: Iterable[str]) -> None:
        hidden = {value for value in values if len(value) >= SHORTEST_SECRET}
        self._secrets = [_Secret(value) for value in sorted(hidden, key=len, reverse=True)]
        self._signs = sorted({sign for secret in self._secrets for sign in secret.signs})

    def may_be_in(self, text: str) -> bool:
        """Whether ``redact`` has to look closer. Nearly all texts have no sign of a secret."""
        return any(map(text.__contains__, self._signs))

    def redact(self, text: str) -> str:
        """Return the text with ``REDACTED`` for each secret."""
        if not self.may_be_in(text):
            return text
        for secret in self._secrets:
            text = secret.redact(text)
        return text


class _Secret:
    """One secret. Every escape leaves its longest plain piece as it is, so that is sought first."""

    def __init__(self, value: str) -> None:
        self._anchor = max(re.findall("[A-Za-z0-9]*", value), key=len)
        self._written = re.compile("".join(map(_written, value)))
        self._encoded = sorted(set(_encoded(value.encode(errors="replace"))), key=len, reverse=True)

    @property
    def signs(self) -> Sequence[str]:
        """Texts; without one of them this secret is not there in any form."""
        return (self._anchor, *self._encoded)

    def redact(self, text: str) -> str:
        if self._anchor in text:
            text = self._written.sub(REDACTED, text)
        for encoded in self._encoded:
            if encoded in text:
                text = text.replace(encoded, REDACTED)
        return text


_known = Secrets(())


def use(values: Iterable[str]) -> None:
    """Set the secrets of this process, and add those of the trace exporter's variables."""
    global _known  # noqa: PLW0603 - a process has one configuration
    _known = Secrets([*values, *_of_the_exporter()])


def may_be_in(text: str) -> bool:
    """Whether a text may have a secret of this process; ``redact`` finds out."""
    return _known.may_be_in(text)


def redact(text: str) -> str:
    """Return the text with ``REDACTED`` for each secret of this process."""
    return _known.redact(text)


def _written(character: str) -> str:
    """Return a pattern for all ways to write a character, under any number of escapes."""
    if re.fullmatch("[A-Za-z0-9]", character):
        return character
    utf8, utf16 = character.encode(errors="replace"), character.encode("utf-16-be", "replace")
    units = [utf16[start : start + 2].hex() for start in range(0, len(utf16), 2)]
    forms = [
        r"\\*" + re.escape(character),
        "".join(rf"%+(?:25)*(?i:{byte:02x})" for byte in utf8),
        "".join(rf"\\+x(?i:{byte:02x})" for byte in utf8),
        "".join(rf"\\+u(?i:{unit})" for unit in units),
        rf"\\+x(?i:{ord(character):02x})",
        rf"\\+U(?i:{ord(character):08x})",
        re.escape(html.escape(character)),
        *_OWN_FORMS.get(character, ()),
    ]
    return f"(?:{'|'.join(dict.fromkeys(forms))})"


def _encoded(secret: bytes) -> Iterator[str]:
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield alphabet(secret).decode().rstrip("=")
        for before in range(3):
            # Only the characters that follow from these bytes alone, not from their neighbours.
            around = alphabet(b"\0" * before + secret).decode()
            piece = around[-(-8 * before // 6) : 8 * (before + len(secret)) // 6]
            if len(piece) >= SHORTEST_PIECE:
                yield piece


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
