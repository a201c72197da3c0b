"""Sum up conversations that have been silent for SUMMARY_RETENTION_DAYS.

Each summary includes the one before it. The LLM writes it outside of any transaction. One
transaction then stores it and deletes exactly the messages that went into it. So messages that
arrived meanwhile stay, and a failure loses nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.errors import PromptRefusedError
from mirt.llm import Agent, ChatMessage
from mirt.observe import traces
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases, outbox
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import summaries as store
from mirt.store.shop.summaries import Unsummarised
from mirt.store.shop.turns import Said
from mirt.task_names import TaskName

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""Conversations that one transaction takes."""
ROUND: Final = 24_000
"""Characters that the LLM sums up in one round. A longer conversation takes several rounds."""
LONGEST_SUMMARY: Final = 6_000
"""Characters of a summary that are kept; the LLM may ignore the length that it is told."""
LEFT_OUT: Final = "[повідомлення, яке не вдалося прочитати]"
"""Text that replaces a line that the LLM refuses."""


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
        """Take every conversation that is due. Yield batches to publish, each after its commit."""
        while batch := self._take_batch():
            yield batch

    def summarise(self, lease: Lease, session_id: str) -> dict[str, Any]:
        """Sum up all messages since the last summary, and return the result of the task.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Agent.summarise``. The failed
                round has changed nothing; the rounds before it are stored.
            LeaseLostError: another worker has the task.
        """
        length = None
        until_id = self._last_line(session_id)
        while (unsummarised := self._read(session_id, until_id)) is not None:
            unsummarised, summary = self._sum_up(unsummarised)
            if not self._store(lease, session_id, unsummarised, summary):
                return _skipped(session_id, "changed_meanwhile")
            length = len(summary)
        if length is None:
            return _skipped(session_id, "nothing_new")
        return {"status": "summarized", "session_id": session_id, "summary_length": length}

    def _sum_up(self, unsummarised: Unsummarised) -> tuple[Unsummarised, str]:
        """Return a summary, and the lines that went into it: fewer if the LLM refuses all of them.

        A line that is refused by itself, too long or flagged, is told as ``LEFT_OUT``. Otherwise
        it would keep this conversation from every later summary.
        """
        while True:
            try:
                return unsummarised, self._ask(unsummarised.lines, unsummarised.summary)
            except PromptRefusedError as refused:
                half = len(unsummarised.lines) // 2
                log.warning("llm_asked_with_less", lines=half, why=refused.message)
            if half == 0:
                [line] = unsummarised.lines
                left_out = Said(line.role, LEFT_OUT)
                return unsummarised, self._ask([left_out], unsummarised.summary)
            ids, lines = list(unsummarised.ids)[:half], unsummarised.lines[:half]
            unsummarised = Unsummarised(unsummarised.summary, ids, lines)

    def _ask(self, lines: Sequence[Said], summary: str | None) -> str:
        said = [ChatMessage(role=line.role, content=line.content) for line in lines]
        known = summary[:LONGEST_SUMMARY] if summary else None
        with traces.span("agent summary", attributes={"mirt.messages": len(said)}):
            return self._agent.summarise(said, summary=known).text[:LONGEST_SUMMARY]

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
            for task in batch:
                outbox.add(tx, task, now=now)
        return batch

    def _last_line(self, session_id: str) -> int:
        with self._database.transaction() as tx:
            return store.last_line(tx, session_id)

    def _read(self, session_id: str, until_id: int) -> Unsummarised | None:
        with self._database.transaction() as tx:
            return store.read_unsummarised(tx, session_id, until_id=until_id, characters=ROUND)

    def _store(
        self, lease: Lease, session_id: str, unsummarised: Unsummarised, summary: str
    ) -> bool:
        now = self._clock()

        def write(tx: Connection) -> bool:
            leases.verify(tx, lease)
            return store.replace_with_summary(tx, session_id, unsummarised, summary, now=now)

        stored = commit_with_retry(self._database, write)
        event = "summarised" if stored else "summary_came_late"
        log.info(event, messages=len(unsummarised.lines))
        return stored


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    return {"status": "skipped", "session_id": session_id, "reason": reason}
