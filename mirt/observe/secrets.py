"""The secrets of this process, and the one place that strikes them out of a text.

Logs, spans, dead letters and the errors kept of deliveries and orders all go through here, so what
a library puts into the text of its error is seen by nobody.
"""

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

REDACTED: Final = "[secret]"
SHORTEST_SECRET: Final = 4
"""A shorter value stands in too many words to be struck out of them."""
SHORTEST_PIECE: Final = 6
"""Of what a secret becomes in the middle of a longer base64."""

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
    """Values that nobody may see, in every form that a library makes of them.

    As they are; percent-encoded, as in a URL or a form; escaped any number of times, as in JSON
    and in the ``repr`` of it; and in base64, alone or in the middle of something longer, as after
    the name in an ``Authorization``.
    """

    def __init__(self, values: Iterable[str]) -> None:
        hidden = {value for value in values if len(value) >= SHORTEST_SECRET}
        self._secrets = [_Secret(value) for value in sorted(hidden, key=len, reverse=True)]

    def redact(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = secret.redact(text)
        return text


class _Secret:
    """One of them. Whatever is done to it, its longest plain piece stays: that is sought first."""

    def __init__(self, value: str) -> None:
        self._anchor = max(re.findall("[A-Za-z0-9]*", value), key=len)
        self._written = re.compile("".join(map(_written, value)))
        self._encoded = sorted(set(_encoded(value.encode(errors="replace"))), key=len, reverse=True)

    def redact(self, text: str) -> str:
        if self._anchor in text:
            text = self._written.sub(REDACTED, text)
        for encoded in self._encoded:
            if encoded in text:
                text = text.replace(encoded, REDACTED)
        return text


_known = Secrets(())


def use(values: Iterable[str]) -> None:
    """Let these be the secrets of this process, with those of the trace exporter's variables."""
    global _known  # noqa: PLW0603 - a process has one configuration
    _known = Secrets([*values, *_of_the_exporter()])


def redact(text: str) -> str:
    """The text without the secrets of this process."""
    return _known.redact(text)


def _written(letter: str) -> str:
    """A pattern of all that may be written for a letter, under any number of escapes."""
    if re.fullmatch("[A-Za-z0-9]", letter):
        return letter
    utf8, utf16 = letter.encode(errors="replace"), letter.encode("utf-16-be", "replace")
    units = [utf16[start : start + 2].hex() for start in range(0, len(utf16), 2)]
    forms = [
        r"\\*" + re.escape(letter),
        "".join(rf"%+(?:25)*(?i:{byte:02x})" for byte in utf8),
        "".join(rf"\\+x(?i:{byte:02x})" for byte in utf8),
        "".join(rf"\\+u(?i:{unit})" for unit in units),
        rf"\\+x(?i:{ord(letter):02x})",
        rf"\\+U(?i:{ord(letter):08x})",
        re.escape(html.escape(letter)),
        *_OWN_FORMS.get(letter, ()),
    ]
    return f"(?:{'|'.join(dict.fromkeys(forms))})"


def _encoded(secret: bytes) -> Iterator[str]:
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield alphabet(secret).decode().rstrip("=")
        for before in range(3):
            # What follows from these bytes alone, not from their neighbours.
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
