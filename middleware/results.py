"""Results in Redis, for those who wait for one. A result that cannot be kept is said aloud."""

import logging
import time
from typing import Any, Final

import structlog
from dramatiq import Broker, Message
from dramatiq.results import ResultBackend, ResultMissing, Results, ResultTimeout
from dramatiq.results.backend import DEFAULT_TIMEOUT
from dramatiq.results.backends import StubBackend
from dramatiq.results.backends.redis import RedisBackend

from mirt.observe.secrets import redact
from mirt.store.engine.redis_client import BestEffort

log = structlog.get_logger(__name__)

RESULT_TTL_MS: Final = 600_000
LOOK_AGAIN_S: Final = 0.05


class KeptResults(Results):
    """Stores the result of every task for ten minutes.

    A Redis that fails costs the result, never the task: it is logged, and who waits asks the
    database in the end. A task that was skipped has no result yet, rather than an empty one.
    """

    def __init__(self, backend: ResultBackend) -> None:
        super().__init__(backend=backend, store_results=True, result_ttl=RESULT_TTL_MS)  # type: ignore[no-untyped-call]
        self._best_effort = BestEffort("results")
        logging.getLogger("dramatiq.worker.WorkerThread").addFilter(_is_true)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Store what the actor has returned."""
        if exception is not None:
            return
        try:
            self._best_effort(
                lambda: self.backend.store_result(message, result, self.result_ttl), default=None
            )
        except (TypeError, ValueError) as wrong:
            # What was done is done. Who waits for the result is told that there is none.
            log.error("result_is_not_json", why=str(wrong))
            self._store_failure(message, wrong)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Leave the place of the result empty."""

    def after_nack(self, broker: Broker, message: Any) -> None:
        """Store the failure: its class and its text, without secrets."""
        failure = message._exception or RuntimeError("unknown")
        if (text := redact(str(failure))) != str(failure):
            failure = type(type(failure).__name__, (RuntimeError,), {})(text)
        self._store_failure(message, failure)

    def _store_failure(self, message: Any, failure: BaseException) -> None:
        self._best_effort(
            lambda: self.backend.store_exception(message, failure, self.result_ttl), default=None
        )


def _is_true(record: logging.LogRecord) -> bool:
    # Dramatiq looks for a class that is exactly Results, and warns of every result otherwise.
    return "haven't added the Results middleware" not in record.getMessage()


class RedisResults(RedisBackend):
    """Results in Redis, whose answers are waited for a moment only.

    Dramatiq's own has Redis hold its answer back until the result is there, for which the short
    time-outs of our connections leave no time: so who waits looks again and again.
    """

    def get_result(
        self, message: Message[Any], *, block: bool = False, timeout: int | None = None
    ) -> Any:
        """The result of a message; with ``block`` it may come within ``timeout`` milliseconds.

        Raises:
            ResultMissing, ResultTimeout: it is not there, or not in time.
            ResultFailure: the task has failed.
        """
        limit_ms = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + limit_ms / 1000
        while True:
            try:
                return super().get_result(message)  # type: ignore[no-untyped-call]
            except ResultMissing:
                if not block:
                    raise
            if time.monotonic() >= deadline:
                raise ResultTimeout(message)
            time.sleep(LOOK_AGAIN_S)


class MemoryResults(StubBackend):
    """Results in the memory of this process, for the modes without Redis; each has its time."""

    def __init__(self) -> None:
        super().__init__(use_namespace_prefix_keys=True)
        # Dramatiq's is shared by all of its kind, and never forgets.
        self.results: dict[str, tuple[str | None, float | None]] = {}

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        now = time.monotonic()
        expired = [key for key, (_, until) in self.results.items() if until and until < now]
        for key in expired:
            self.results.pop(key, None)
        super()._store(message_key, result, ttl)  # type: ignore[no-untyped-call]
