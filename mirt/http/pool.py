"""Keep a bounded pool of connections to one service, usable from any thread and process."""

import json as jsons
import logging
import os
import ssl
import threading
import zlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import httpx
import orjson
from pydantic import SecretStr

from mirt.http.answer import Answer
from mirt.http.connections import Connections
from mirt.observe import traces

CONNECT_SECONDS: Final = 5.0
MOST_URLS: Final = 100
"""URLs that are remembered; the paths of most calls are the same few."""
_LARGEST_ANSWER: Final = 8 * 1024 * 1024

_GZIP: Final = 16 + zlib.MAX_WBITS
"""https://docs.python.org/3/library/zlib.html#zlib.decompress: with the header of gzip."""

_TELLTALES = ("httpx", "httpcore.connection", "httpcore.http11")
"""Loggers that write every URL, which has Telegram's token, or the headers of every answer."""

_JSON: Final = {"Content-Type": "application/json"}


class AnswerTooLargeError(Exception):
    """The answer has more than 8 MiB, or is compressed in a way that we did not ask for."""


class Pool:
    """A connection pool. The first exchange of a process opens it; a forked child opens its own.

    Answers have asterisks in place of each of ``secrets``.
    """

    def __init__(
        self,
        base_url: str | SecretStr,
        *,
        headers: Mapping[str, SecretStr | str],
        secrets: Collection[SecretStr],
        max_connections: int,
    ) -> None:
        self._base_url = base_url
        self._headers = headers
        self._secrets = [value for s in secrets if (value := s.get_secret_value())]
        self._max_connections = max_connections
        self._permits = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._urls: dict[str, httpx.URL] = {}
        self._pid = 0

    def exchange(
        self,
        method: str,
        path: str,
        *,
        json: Any,
        params: Mapping[str, str] | None,
        within_s: float,
    ) -> Answer:
        """Send one request and return its answer. ``within_s`` includes the wait for a connection.

        Raises:
            httpx.HTTPError, httpx.InvalidURL: the client's error; it may hold URL and headers.
            AnswerTooLargeError: the answer has more than 8 MiB.
        """
        if not self._permits.acquire(timeout=within_s):
            raise httpx.PoolTimeout("no connection became free")
        try:
            return self._exchange(method, path, json, params, within_s)
        finally:
            self._permits.release()

    def open(self) -> None:
        """Open the pool now: reading the certificates takes longer than most requests."""
        self._opened()

    def close(self) -> None:
        """Close the connections. A later exchange opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client and self._pid == os.getpid():
            client.close()

    def _exchange(
        self, method: str, path: str, json: Any, params: Mapping[str, str] | None, left: float
    ) -> Answer:
        client = self._opened()
        with client.stream(
            method,
            self._url_of(client, path),
            params=params,
            content=None if json is None else _encode(json),
            headers={**({} if json is None else _JSON), **traces.headers()},
            timeout=httpx.Timeout(left, connect=min(CONNECT_SECONDS, left)),
        ) as response:
            content = _read(response)
            return Answer.read(
                response.status_code, response.headers, content, secrets=self._secrets
            )

    def _url_of(self, client: httpx.Client, path: str) -> httpx.URL:
        """Return the whole URL: putting it together costs as much as encoding a request."""
        url = self._urls.get(path)
        if url is None:
            url = client.build_request("GET", path).url
            if len(self._urls) < MOST_URLS:
                self._urls[path] = url
        return url

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client, self._pid = self._open(), os.getpid()
            return self._client

    def _open(self) -> httpx.Client:
        for logger in _TELLTALES:
            logging.getLogger(logger).addFilter(_drop)
        headers = {"User-Agent": "mirt", "Accept-Encoding": "gzip", **self._headers}
        return httpx.Client(
            base_url=_revealed(self._base_url),
            headers=[(name.encode(), _revealed(value).encode()) for name, value in headers.items()],
            transport=_BoundedTransport(),
            trust_env=False,
        )


def _read(response: httpx.Response) -> bytes:
    """Return the decompressed content; no more of it is made than may be kept.

    The client of the library decompresses a whole chunk, which grows a thousandfold in each layer,
    before its length can be checked.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise AnswerTooLargeError
    gzip = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    content = bytearray()
    for chunk in response.iter_raw():
        left = _LARGEST_ANSWER + 1 - len(content)
        try:
            content += gzip.decompress(chunk, left) if gzip else chunk
        except zlib.error:
            raise httpx.DecodingError("the answer is no gzip") from None
        if len(content) > _LARGEST_ANSWER:
            raise AnswerTooLargeError
    return bytes(content)


class _BoundedTransport(httpx.HTTPTransport):
    """The transport of httpx over sockets that end by the deadline of the request."""

    def __init__(self) -> None:
        context = trusted()
        super().__init__(verify=context)
        self._pool = Connections(context)  # type: ignore[assignment]


@cache
def trusted() -> ssl.SSLContext:
    """Return the certificates that we trust; reading them takes longer than most requests."""
    return httpx.create_ssl_context()


def _encode(json: Any) -> bytes:
    try:
        return orjson.dumps(json)
    except TypeError:
        # Half an emoji, cut off by a model, cannot be encoded and is sent as "?".
        return jsons.dumps(json, ensure_ascii=False).encode(errors="replace")


def _revealed(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _drop(_: logging.LogRecord) -> bool:
    return False
