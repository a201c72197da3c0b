"""Download a file of bounded size, from an address that another side has named.

The address may hold a secret, or lead into our own network: a customer can name any. So errors do
not show it, redirects are not followed, and ``public_only`` connects to public addresses alone. The
address is checked where the connection is made, so a name that resolves otherwise the second time
gains nothing.
"""

import ipaddress
import time
from collections.abc import Iterable
from typing import Final

import httpcore
import httpx
from pydantic import SecretStr

from mirt import clock
from mirt.errors import ExternalServiceError
from mirt.http.network import BoundedBackend, request_deadline
from mirt.http.pool import trusted

_PORT: Final = 443


class _PublicBackend(BoundedBackend):
    """A backend that connects to public addresses on the port of HTTPS only."""

    def addresses(self, host: str, port: int) -> Iterable[str]:
        """Return the addresses of ``host``; an error if one of them is not public."""
        found = list(super().addresses(host, port))
        if port != _PORT or not all(ipaddress.ip_address(one).is_global for one in found):
            raise httpcore.ConnectError("not a public address")
        return found


class _Transport(httpx.HTTPTransport):
    def __init__(self, backend: BoundedBackend) -> None:
        context = trusted()
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=backend)


def download(
    service: str, url: SecretStr, *, largest: int, within_s: float, public_only: bool = False
) -> bytes:
    """Return the content of ``url``, which has at most ``largest`` bytes.

    ``public_only`` takes HTTPS on its own port at public addresses, and nothing else.

    Raises:
        ExternalServiceError: it is not there, too large, slow, or at an address that is refused.
        SoftTimeLimitExceeded: the deadline of the task comes first.
    """
    address = url.get_secret_value()
    if public_only and not address.lower().startswith("https://"):
        raise ExternalServiceError(service, "a file is not at a public address")
    left = clock.remaining(within_s)
    try:
        with (
            request_deadline(time.monotonic() + left),
            httpx.Client(
                transport=_Transport(_PublicBackend() if public_only else BoundedBackend()),
                trust_env=False,
                headers={"User-Agent": "mirt"},
            ) as client,
            client.stream("GET", address, timeout=left) as response,
        ):
            if response.status_code == httpx.codes.OK:
                return _read(service, response, largest)
            failure = f"a file was answered {response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as failed:
        failure = f"a file could not be fetched: {type(failed).__name__}"
    # Raised outside of the except block, or its context would hold the URL.
    raise ExternalServiceError(service, failure)


def _read(service: str, response: httpx.Response, largest: int) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > largest:
            raise ExternalServiceError(service, f"a file has more than {largest} bytes")
    return bytes(content)
