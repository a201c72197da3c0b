"""A conversation that has been silent for long is summed up, over the summary before.

The agent writes the summary outside of any transaction. One transaction then stores it and deletes
exactly the messages that went into it: what came meanwhile stays, and what fails loses nothing.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.llm import Agent, ChatMessage
from mirt.observe import traces
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases, outbox
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import summaries as store
from mirt.store.shop.summaries import Unsummarised
from mirt.task_names import TaskName

log = structlog.get_logger(__name__)

"""The task that sums a conversation up."""
BATCH: Final = 100
ROUND: Final = 24_000
"""Characters that the agent sums up at once; a longer conversation takes several rounds."""


class Summaries:
    """The summaries of all conversations."""

    def __init__(
        self, database: Database, agent: Agent, clock: Clock, *, retention_days: int
    ) -> None:
        self._database = database
        self._agent = agent
        self._clock = clock
        self._retention = timedelta(days=retention_days)

    def take_due(self) -> Iterator[list[TaskMessage]]:
        """Take every conversation that is due; batches to publish, each committed before."""
        while batch := self._take_batch():
            yield batch

    def summarise(self, lease: Lease, session_id: str) -> dict[str, Any]:
        """Sum up what was said since the last summary.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Agent.summarise``; nothing of
                the round that failed is changed.
            LeaseLostError: another worker has it.
        """
        length = None
        until_id = self._last_line(session_id)
        while (what := self._read(session_id, until_id)) is not None:
            lines = [ChatMessage(role=said.role, content=said.content) for said in what.lines]
            with traces.span("agent summary", attributes={"mirt.messages": len(lines)}):
                summary = self._agent.summarise(lines, summary=what.summary).text
            if not self._store(lease, session_id, what, summary):
                return _skipped(session_id, "changed_meanwhile")
            length = len(summary)
        if length is None:
            return _skipped(session_id, "nothing_new")
        return {"status": "summarized", "session_id": session_id, "summary_length": length}

    def _take_batch(self) -> list[TaskMessage]:
        now = self._clock()
        with self._database.transaction() as tx:
            found = store.take_silent(tx, until=now - self._retention, limit=BATCH)
            batch = [
                TaskMessage(
                    task_id=f"summary:{session_id}:{since.isoformat()}",
                    actor=TaskName.SUMMARIZE_SESSION,
                    kwargs={"session_id": session_id},
                    options=traces.new_options(TaskName.SUMMARIZE_SESSION),
                )
                for session_id, since in found
            ]
            for publication in batch:
                outbox.add(tx, publication, now=now)
        return batch

    def _last_line(self, session_id: str) -> int:
        with self._database.transaction() as tx:
            return store.last_line(tx, session_id)

    def _read(self, session_id: str, until_id: int) -> Unsummarised | None:
        with self._database.transaction() as tx:
            return store.read_unsummarised(tx, session_id, until_id=until_id, characters=ROUND)

    def _store(self, lease: Lease, session_id: str, what: Unsummarised, summary: str) -> bool:
        now = self._clock()

        def write(tx: Connection) -> bool:
            leases.verify(tx, lease)
            return store.replace_with_summary(tx, session_id, what, summary, now=now)

        stored = commit_with_retry(self._database, write)
        log.info("summarised" if stored else "summary_came_late", messages=len(what.lines))
        return stored


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    return {"status": "skipped", "session_id": session_id, "reason": reason}
