"""Which URLs name a server, so that every library reads the same password out of them.

A password that was not percent-encoded is read by each library in another way: one takes its end
for a host or a port, and says it in an error. Nobody could strike that out; so nobody gets it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Server:
    """What its URLs begin with, and which of them do without a host."""

    name: str
    schemes: tuple[str, ...]
    needs_no_host: Callable[[SplitResult], bool] = lambda _parts: False

    def check(self, url: str) -> None:
        """Make sure that this is a URL of such a server.

        Raises:
            ValueError: it is not. The text has nothing of the URL in it.
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
    """Whether this names a file, and so has no password."""
    return url.partition(":")[0] in {"sqlite", "sqlite+pysqlite"}


def _is_socket(parts: SplitResult) -> bool:
    return parts.scheme == "unix" and bool(parts.path.strip("/"))


def _names_its_host_later(parts: SplitResult) -> bool:
    # libpq takes the directory of its socket from there, or, without user and host, knows one.
    return not parts.netloc or "host" in parse_qs(parts.query)


RABBITMQ: Final = Server("RabbitMQ", ("amqp", "amqps"))
REDIS: Final = Server("Redis", ("redis", "rediss", "unix"), _is_socket)
POSTGRES: Final = Server(
    "PostgreSQL", ("postgresql", "postgres", "postgresql+psycopg"), _names_its_host_later
)
