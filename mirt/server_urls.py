"""Check the URLs of servers, so that every library reads the same password from them.

Libraries disagree about a password that is not percent-encoded: one takes its end for a host or a
port and repeats it in an error. Such a fragment could not be redacted, so the URL is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server: the schemes of its URLs, and the URLs that need no host."""

    name: str
    schemes: tuple[str, ...]
    needs_no_host: Callable[[SplitResult], bool] = lambda _parts: False

    def check(self, url: str) -> None:
        """Check that ``url`` is an unambiguous URL of this kind of server.

        Raises:
            ValueError: it is not. The text repeats nothing of the URL.
        """
        if not self._is_plain(url):
            schemes = ", ".join(f"{scheme}://" for scheme in self.schemes)
            raise ValueError(
                f"no URL of {self.name} ({schemes}), or not to be understood in one way only:"
                " : / ? # [ ] @ in a password must be percent-encoded"
            )

    def _is_plain(self, url: str) -> bool:
        scheme, _, rest = url.partition("://")
        if scheme not in self.schemes or "#" in url:
            return False
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            return False
        if rest.count("@") > parts.netloc.count("@") or parts.netloc.count("@") > 1:
            return False
        return bool(parts.hostname) or self.needs_no_host(parts)


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite file, and so has no password."""
    return url.partition(":")[0] in {"sqlite", "sqlite+pysqlite"}


def _is_socket(parts: SplitResult) -> bool:
    return parts.scheme == "unix" and bool(parts.path.strip("/"))


def _has_host_elsewhere(parts: SplitResult) -> bool:
    # libpq reads its socket's directory from the query. Without user and host it has a default.
    return not parts.netloc or "host" in parse_qs(parts.query)


RABBITMQ: Final = Server("RabbitMQ", ("amqp", "amqps"))
REDIS: Final = Server("Redis", ("redis", "rediss", "unix"), _is_socket)
POSTGRES: Final = Server(
    "PostgreSQL", ("postgresql", "postgres", "postgresql+psycopg"), _has_host_elsewhere
)
