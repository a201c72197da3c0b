"""Ends the hold of an outside service when a task has had its answer."""

from typing import Any

import structlog
from dramatiq import Middleware

from middleware import lifecycle
from middleware.execution import current_lease
from mirt import service_calls
from mirt.clock import Clock
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import holds

log = structlog.get_logger(__name__)


class Holds(Middleware):
    """Notes which services answer during a run, and releases the tasks that waited for them.

    The probe of a hold ends it. So does any other task, if this process knows of the hold.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def before_process_message(self, broker: Any, message: Any) -> None:
        """Begin the notes of the run, as the probe of a service if the task is one."""
        arguments = (message.args, message.kwargs)
        service_calls.begin(current_lease().held_by, broker.open_holds, private=arguments)

    def after_process_message(
        self,
        broker: Any,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Release what was held for the services that have answered."""
        calls = service_calls.current()
        for service in calls.answered & {*broker.open_holds, calls.probe}:
            self._release(service)

    def _release(self, service: str) -> None:
        now = self._clock()
        try:
            with self._database.transaction() as tx:
                ended = holds.release(tx, service, now=now)
        except DatabaseError as failed:
            # The next probe tries again.
            log.warning("service_not_released", service=service, why=failed.message)
            return
        if ended is not None:
            tasks, since = ended
            lasted_s = (now - since).total_seconds()
            lifecycle.service_released(service, tasks=tasks, lasted_s=lasted_s)
