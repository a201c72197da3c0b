"""Stores the results of tasks in Redis, for callers that wait. A failure to store is logged."""

import logging
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog
from dramatiq import Broker, Message
from dramatiq.results import ResultBackend, ResultMissing, Results, ResultTimeout
from dramatiq.results.backend import DEFAULT_TIMEOUT
from dramatiq.results.backends import StubBackend
from dramatiq.results.backends.redis import RedisBackend
from redis import RedisError

from middleware.envelopes import to_message
from mirt.observe.secrets import redact
from mirt.store.engine.redis_client import BestEffort
from mirt.store.queue.tasks import TaskMessage

log = structlog.get_logger(__name__)

NO_RESULT: Final = "no_result"
"""Option of a message whose result no caller waits for: its text need not lie in Redis."""
RESULT_TTL_MS: Final = 600_000
LOOK_AGAIN_S: Final = 0.05


class KeptResults(Results):
    """Stores the result of every task for ten minutes.

    A failure of Redis costs the result, never the task: it is logged, and a waiting caller asks the
    database in the end. A task that was skipped has no result yet, rather than an empty one.
    """

    def __init__(self, backend: ResultBackend) -> None:
        super().__init__(backend=backend, store_results=True, result_ttl=RESULT_TTL_MS)  # type: ignore[no-untyped-call]
        self._best_effort = BestEffort("results")
        logging.getLogger("dramatiq.worker.WorkerThread").addFilter(_is_not_misleading)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Store the value that the actor returned."""
        if exception is not None or message.options.get(NO_RESULT):
            return
        try:
            self._best_effort(
                lambda: self.backend.store_result(message, result, self.result_ttl), default=None
            )
        except (TypeError, ValueError) as wrong:
            # The task is done all the same. A waiting caller gets this error as its result.
            log.error("result_is_not_json", why=str(wrong))
            self._store_failure(message, wrong)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Store nothing: Dramatiq would store an empty result."""

    def after_nack(self, broker: Broker, message: Any) -> None:
        """Store the failure: its class and its text with secrets redacted."""
        failure = message._exception or RuntimeError("unknown")
        if (text := redact(str(failure))) != str(failure):
            failure = type(type(failure).__name__, (RuntimeError,), {})(text)
        self._store_failure(message, failure)

    def _store_failure(self, message: Any, failure: BaseException) -> None:
        self._best_effort(
            lambda: self.backend.store_exception(message, failure, self.result_ttl), default=None
        )


def forget_results(backend: ResultBackend, tasks: Iterable[TaskMessage]) -> bool:
    """Delete the results of tasks; return False if Redis cannot be asked: they expire anyway."""
    assert isinstance(backend, RedisResults | MemoryResults)  # noqa: S101 - for the types
    try:
        backend.forget(to_message(task) for task in tasks)
    except RedisError:
        return False
    return True


def _is_not_misleading(record: logging.LogRecord) -> bool:
    # Dramatiq accepts the class Results only, and warns of each result of a subclass.
    return "haven't added the Results middleware" not in record.getMessage()


class RedisResults(RedisBackend):
    """Results in Redis, with short requests.

    Dramatiq's own backend blocks in Redis until the result is there, longer than the timeouts of
    our connections allow. So a waiting caller polls every ``LOOK_AGAIN_S`` seconds.
    """

    def get_result(
        self, message: Message[Any], *, block: bool = False, timeout: int | None = None
    ) -> Any:
        """Return the result of a message; with ``block`` wait up to ``timeout`` milliseconds.

        Raises:
            ResultMissing: there is no result, and the caller does not wait.
            ResultTimeout: there is no result within the timeout.
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

    def forget(self, messages: Iterable[Message[Any]]) -> None:
        """Delete the results of messages.

        Raises:
            RedisError: Redis cannot be asked.
        """
        if keys := [self.build_message_key(message) for message in messages]:
            self.client.delete(*keys)


class MemoryResults(StubBackend):
    """Results in the memory of this process, for the modes without Redis; each one expires."""

    def __init__(self) -> None:
        super().__init__(use_namespace_prefix_keys=True)
        # Dramatiq's dictionary belongs to the class, and its entries never expire.
        self.results: dict[str, tuple[str | None, float | None]] = {}

    def forget(self, messages: Iterable[Message[Any]]) -> None:
        """Delete the results of messages."""
        for message in messages:
            self.results.pop(self.build_message_key(message), None)

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        now = time.monotonic()
        expired = [key for key, (_, until) in self.results.items() if until and until < now]
        for key in expired:
            self.results.pop(key, None)
        super()._store(message_key, result, ttl)  # type: ignore[no-untyped-call]
