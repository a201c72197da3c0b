"""Name the steps of each run in this process, and end or stop the process at one of them."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from dramatiq import Middleware
from dramatiq.worker import WorkerThread
from sqlalchemy import Connection, event

from broker.durable import DurableBroker
from mirt.http.pool import Pool
from mirt.store.engine.database import Database
from mirt.store.engine.pipe import Pipe, pipe_of

WRITES: Final = ("INSERT", "UPDATE", "DELETE", "WITH")
"""The beginnings of the statements that write."""


class Points:
    """The points that the tasks of this process pass, each written to ``log`` as a line.

    A point is called ``<task>: before commit 2``; the number counts the steps of that kind in the
    run. Only transactions that write are counted. At the point ``stop_at`` the process sends
    itself the signal ``how``.
    """

    def __init__(
        self, log: Path, *, stop_at: str | None, how: signal.Signals | None, away_s: float
    ) -> None:
        """Take the seconds that the process believes it was away, if it goes on."""
        self._away_s = away_s
        self._log = log
        self._stop_at = stop_at
        self._how = how
        self._steps: Counter[str] = Counter()
        self._task: str | None = None
        self._transaction = threading.local()

    def listen(self, database: Database, broker: DurableBroker) -> None:
        """Listen to the engine, the pools of HTTP connections, the broker and its worker."""
        # The product commits in a listener of its own: one comes before it, one after it.
        event.listen(database.engine, "commit", self._commit_begins, insert=True)
        event.listen(database.engine, "commit", self._commit_ends)
        event.listen(database.engine, "begin", self._transaction_begins, insert=True)
        event.listen(database.engine, "before_cursor_execute", self._statement_begins)
        self._follow_pipes()
        _around(Pool, "exchange", self, lambda arguments: f"request {arguments[1]}")
        _around(type(broker), "transmit", self, lambda arguments: "publish")
        broker.add_middleware(_Acknowledgements(self))
        self._follow_runs()

    def _follow_pipes(self) -> None:
        send = Pipe.send

        def send_noting(pipe: Pipe, *statements: Any) -> Any:
            self._note(statement for statement, _ in (*pipe.waiting, *statements))
            return send(pipe, *statements)

        Pipe.send = send_noting  # type: ignore[method-assign,assignment]

    def _transaction_begins(self, _tx: Connection) -> None:
        self._transaction.writes = False

    def _statement_begins(self, _tx: object, _cursor: object, text: str, *_: object) -> None:
        self._note([text])

    def _note(self, statements: Iterable[str]) -> None:
        if any(text.lstrip().startswith(WRITES) for text in statements):
            self._transaction.writes = True

    def _commit_begins(self, tx: Connection) -> None:
        if (pipe := pipe_of(tx)) is not None:
            self._note(statement for statement, _ in pipe.waiting)
        if self._transaction.writes:
            self._before("commit")

    def _commit_ends(self, _tx: Connection) -> None:
        if self._transaction.writes:
            self._after("commit")

    def _follow_runs(self) -> None:
        process = WorkerThread.process_message

        def process_message(thread: WorkerThread, message: Any) -> None:
            self._task = message.actor_name
            self._steps.clear()
            try:
                process(thread, message)
            finally:
                self._task = None

        WorkerThread.process_message = process_message  # type: ignore[method-assign,assignment]

    def _before(self, step: str) -> None:
        if self._is_in_a_run():
            self._steps[step] += 1
            self._pass(f"before {step} {self._steps[step]}")

    def _after(self, step: str) -> None:
        if self._is_in_a_run():
            self._pass(f"after {step} {self._steps[step]}")

    def _is_in_a_run(self) -> bool:
        return self._task is not None and isinstance(threading.current_thread(), WorkerThread)

    def _pass(self, step: str) -> None:
        point = f"{self._task}: {step}"
        with self._log.open("a") as log:
            log.write(f"{point}\n")
        if point == self._stop_at and self._how is not None:
            self._stop_at = None
            # To this thread: the process ends or stops before the thread does anything else.
            signal.pthread_kill(threading.get_ident(), self._how)
            _let_time_pass(self._away_s)


class _Acknowledgements(Middleware):
    def __init__(self, points: Points) -> None:
        self._points = points

    def before_ack(self, _broker: object, _message: object) -> None:
        self._points._before("acknowledgement")

    def after_ack(self, _broker: object, _message: object) -> None:
        self._points._after("acknowledgement")


def _let_time_pass(seconds: float) -> None:
    monotonic = time.monotonic
    time.monotonic = lambda: monotonic() + seconds


def _around(
    owner: type, method: str, points: Points, step_of: Callable[[tuple[Any, ...]], str]
) -> None:
    call = getattr(owner, method)

    def passing(instance: Any, *arguments: Any, **named: Any) -> Any:
        step = step_of(arguments)
        points._before(step)
        answer = call(instance, *arguments, **named)
        points._after(step)
        return answer

    setattr(owner, method, passing)
