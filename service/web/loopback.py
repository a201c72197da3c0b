"""Refuse what a web page or another machine sends to the embedded mode.

The embedded mode takes webhooks without a secret, because it listens on loopback only. Loopback is
no authentication: every page that the browser of this machine opens may send requests to it, and a
tunnel brings those of the whole internet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

HERE: Final = frozenset({"none", "same-origin"})
"""Values of ``Sec-Fetch-Site`` of an address that was typed in, and of our own pages."""
FORWARDED: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "via"})
"""Headers of a tunnel or proxy, also of one that writes our name into ``Host``."""

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoopbackGuard:
    """Decides whether a request comes from this machine.

    ``proofs`` has a function for each webhook with a secret: a request that carries it may come
    from anywhere.
    """

    proofs: Mapping[str, Callable[[Headers], bool]] = field(default_factory=dict)

    def refusal_of(self, scope: Mapping[str, Any]) -> str | None:
        """Return why an ASGI request is refused; None if it may pass."""
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        is_webhook = scope["path"].startswith("/webhooks/")
        why = _foreign(headers, is_webhook=is_webhook)
        proof = self.proofs.get(scope["path"])
        return None if why is None or (proof and proof(headers)) else why


def _foreign(headers: Headers, *, is_webhook: bool) -> str | None:
    host, origin = headers.get("host", "localhost"), headers.get("origin")
    if not _is_loopback(host):
        return "its Host is not this machine"
    if headers.get("sec-fetch-site", "none") not in HERE:
        return "it comes from the page of another site"
    if origin is not None and (is_webhook or not _is_ours(origin, host)):
        return "its Origin is another site"
    if is_webhook and not FORWARDED.isdisjoint(headers):
        return "it comes through a proxy, without the secret"
    return None


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_ours(origin: str, host: str) -> bool:
    # Our pages send no referrer, so their forms have the Origin null; they check it themselves.
    try:
        return origin == "null" or urlsplit(origin).netloc == host
    except ValueError:
        return False
