"""Exchange several statements with PostgreSQL at once: one packet there, one answer back.

psycopg's pipeline makes a cursor of each statement and sends it by itself, which costs more than
the statements do. Here everything is queued first and then sent together.

A statement is prepared at its first use on a connection, so that the server parses and plans it
once. Behind a pooler in transaction mode that cannot work, since each transaction may get another
server connection. Such a pooler shows itself: the process id that it gave us is not the server's.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from mirt.store.engine.timeouts import BoundedConnection

TextAndValues = tuple[str, Mapping[str, Any] | None]
"""A statement with parameters like ``%(name)s``, and their values; None if it takes none."""
MOST_PREPARED: Final = 200
"""Prepared statements of one connection; further statements are sent unprepared."""
_MIXED_UP: Final = frozenset({"26000", "42P05"})
"""PostgreSQL's codes for a prepared statement that is missing, and for one that is there already:
the server connection is not the one on which we prepared."""
_CHANGED: Final = "0A000"
"""PostgreSQL's code for a prepared statement whose result has other types since a migration."""
_PARAMETER: Final = re.compile(r"%\((\w+)\)s|%%")


@dataclass(frozen=True, slots=True)
class _Query:
    """A statement as the server takes it, and the names of its parameters in their order."""

    text: bytes
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Bound:
    """A statement with its values in the form of the server."""

    text: bytes
    values: Sequence[Any] = ()
    types: tuple[int, ...] = ()
    formats: Sequence[Any] = ()


class PipedConnection(BoundedConnection):
    """A connection that exchanges several statements in one round trip."""

    are_mixed_up: ClassVar[bool] = False
    """Whether a pooler that we did not recognize has mixed up the statements of this process."""
    may_prepare: bool = False
    """Whether the server process behind this connection stays the same."""

    def find_out_whether_to_prepare(self) -> None:
        """Compare the process id that we were given with that of the server."""
        [(server_pid,)] = self.execute("SELECT pg_backend_pid()").fetchall()
        self.may_prepare = server_pid == self.info.backend_pid
        self._names: set[bytes] = set()
        self._transformer = Transformer.from_context(self)

    def exchange(self, statements: Sequence[TextAndValues]) -> list[list[Any]]:
        """Run statements in their order; return the rows of each.

        Raises:
            psycopg.Error: the first error; no statement after it has run. A connection that is
                lost or interrupted in the middle of an exchange is closed.
        """
        bound = [self._bind(*one) for one in statements]
        pgconn = self.pgconn
        try:
            pgconn.enter_pipeline_mode()
            queued: set[bytes] = set()
            expected = [answer for one in bound for answer in self._queue(pgconn, one, queued)]
            pgconn.pipeline_sync()
            results = self.wait(_send_and_receive(pgconn))
            pgconn.exit_pipeline_mode()
        except BaseException:
            # The next statement would take the rest of the answer for its own.
            self.close()
            raise
        return self._read(expected, results)

    def _bind(self, text: str, values: Mapping[str, Any] | None) -> _Bound:
        query = _parse(text, has_parameters=values is not None)
        if not query.names or values is None:
            return _Bound(query.text)
        given = [values[name] for name in query.names]
        adapt = self._transformer
        dumped = adapt.dump_sequence(given, [PyFormat.AUTO] * len(given))
        return _Bound(query.text, dumped, adapt.types or (), adapt.formats or ())

    def _queue(self, pgconn: PGconn, one: _Bound, queued: set[bytes]) -> Iterator[bytes | None]:
        """Queue a statement; yield for each answer the name that it prepares, or None.

        ``queued`` are the names that this exchange prepares already.
        """
        name = _name(one.text, one.types)
        is_prepared = not self.are_mixed_up and (name in self._names or name in queued)
        if not is_prepared and one.values and self._prepares_more(len(queued)):
            pgconn.send_prepare(name, one.text, one.types)
            queued.add(name)
            is_prepared = True
            yield name
        if is_prepared:
            pgconn.send_query_prepared(name, one.values, one.formats)
        else:
            pgconn.send_query_params(one.text, one.values, one.types, one.formats)
        yield None

    def _prepares_more(self, queued: int) -> bool:
        is_safe = self.may_prepare and not self.are_mixed_up
        return is_safe and len(self._names) + queued < MOST_PREPARED

    def _read(
        self, expected: Sequence[bytes | None], results: Sequence[PGresult]
    ) -> list[list[Any]]:
        """Return the rows of each statement; remember what is prepared."""
        rows = []
        for prepares, result in zip(expected, results, strict=True):
            if result.status == ExecStatus.FATAL_ERROR:
                raise self._error_of(result)
            if prepares is not None:
                self._names.add(prepares)
            else:
                self._transformer.set_pgresult(result)
                rows.append(self._transformer.load_rows(0, result.ntuples, tuple))
        return rows

    def _error_of(self, result: PGresult) -> Exception:
        error = error_from_result(result)
        if error.sqlstate in _MIXED_UP:
            PipedConnection.are_mixed_up = True
            import structlog  # a command that reads the database does without it

            log = structlog.get_logger(__name__)
            log.warning("statements_not_prepared", why=str(error.diag.message_primary))
        elif error.sqlstate != _CHANGED:
            return error
        self.close()
        return psycopg.OperationalError("a prepared statement is of no use any more")


def _send_and_receive(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """Send what is queued, and return one result for each answer."""
    yield from send(pgconn)
    found: list[PGresult] = []
    while True:
        results = yield from fetch_many(pgconn)
        if not results:
            raise psycopg.OperationalError("the answer has broken off")
        if results[-1].status == ExecStatus.PIPELINE_SYNC:
            return found
        found.append(results[-1])


@lru_cache(maxsize=1000)
def _parse(text: str, *, has_parameters: bool) -> _Query:
    if not has_parameters:
        return _Query(text.encode())
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1]
        return "%" if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

    return _Query(_PARAMETER.sub(number, text).encode(), tuple(numbers))


@lru_cache(maxsize=1000)
def _name(text: bytes, types: tuple[int, ...]) -> bytes:
    """Return a name that no other statement has, in any process."""
    return hashlib.blake2b(text + repr(types).encode(), digest_size=12).hexdigest().encode()
