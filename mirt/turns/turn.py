"""Run a turn: answer the waiting messages together, once, and promote the next head.

The steps of a turn. *Open*, *store* and *close* are transactions that verify the lease first:

1. *open*: read how far the turn has come; if the agent has not answered, take the waiting mail.
2. ask the agent, outside of any transaction.
3. *store*: the reply, the history, the answered mail, the pending delivery and the tasks that the
   agent asks for, together.
4. deliver, outside of any transaction.
5. *close*: the oldest waiting message becomes the head and is returned, so that it is published.

An interrupted turn starts again at 1 and continues from the stored state.
``mirt.turns.failed_turns`` settles turns that fail for good.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.conversations import TURN_MESSAGES, Conversations, as_task, is_command, taken_together
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, PermanentError
from mirt.llm import Agent, ChatMessage
from mirt.observe import metrics, traces
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases, outbox
from mirt.store.queue.dead_letters import find_dead
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage, TaskOutcome
from mirt.store.shop import mailbox
from mirt.store.shop import turns as store
from mirt.store.shop.deliveries import (
    Delivery,
    add_delivery,
    find_delivery,
)
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.store.shop.turns import Reply, Said
from mirt.task_names import TaskName
from mirt.texts import GREETING
from mirt.turns.actions import TOOLS, plan
from mirt.turns.content import lines_of, start_payload, unreadable_reply
from mirt.turns.failed_turns import delivery_to

log = structlog.get_logger(__name__)

HISTORY_LINES: Final = 20
"""Earlier messages that the agent gets with a turn."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A turn without an answer, with the mail that it answers and what was said before."""

    mails: list[KeptMail]
    summary: str | None = None
    history: list[Said] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A message that has a reply. ``turn_id`` differs from its id if another turn answered it."""

    turn_id: str
    reply: Reply


class Turns:
    """The turns of all conversations."""

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        deliveries: Deliveries,
        agent: Agent,
        clock: Clock,
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._deliveries = deliveries
        self._agent = agent
        self._clock = clock

    def answer(self, lease: Lease, mail: Mail) -> TaskOutcome:
        """Run the turn of this message and return its outcome.

        The outcome is ``parked`` if another message is the head: the task runs when it is the head.

        Raises:
            RetryableError: the turn failed for now; the next attempt continues from its last step.
            PermanentError: the turn can never succeed; call ``FailedTurns.failed``.
            LeaseLostError: another worker has the task.
        """
        began = time.perf_counter()
        stage = self._open(lease, mail)
        if stage is None:
            return TaskOutcome(None, parked=True)
        if isinstance(stage, _Open):
            self._measure_wait(stage)
            stage = self._store(lease, mail, stage, self._ask(stage))
        result = _result(mail, stage.reply)
        if mail.actor == TaskName.PROCESS_AND_RESPOND and stage.turn_id == mail.task_id:
            result["delivery"] = self._deliveries.deliver(lease, mail.task_id)
        to_publish = self._close(lease, mail.session_id)
        metrics.TURN_SECONDS.observe(time.perf_counter() - began)
        return TaskOutcome(result, [*to_publish, *stage.reply.agent_tasks])

    def send_text(self, lease: Lease, delivery: Delivery) -> TaskOutcome:
        """Send a fixed text. If its task is the head of a mailbox, promote the next head.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Deliveries.deliver``.
            LeaseLostError: another worker has the task.
        """
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            add_delivery(tx, delivery, now=self._clock())
            kept = find_delivery(tx, delivery.id)
        result = self._deliveries.deliver(lease, delivery.id)
        session_id = kept.session_id if kept else delivery.session_id
        return TaskOutcome(result, self._close(lease, session_id))

    def result_of(self, mail: Mail) -> dict[str, Any] | None:
        """Return the result of a message that its own turn or another one has answered, or None.

        Raises:
            PermanentError: the turn has failed for good; with the code of its dead letter.
        """
        with self._database.transaction() as tx:
            if answered := store.reply_to(tx, mail.task_id):
                return _result(mail, answered[1])
            kept = mailbox.find(tx, mail.task_id)
            if kept is None or kept.state is not MailState.FAILED:
                return None
            dead_letter = find_dead(tx, kept.turn_id or kept.task_id)
        code = dead_letter.error_code if dead_letter else ErrorCode.UNEXPECTED
        raise PermanentError("the task has failed for good", code)

    def _open(self, lease: Lease, mail: Mail) -> _Open | _Answered | None:
        now = self._clock()
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            if (
                mailbox.add(tx, mail, now=now)
                and mailbox.record_activity_and_lock(tx, mail, now=now) is None
            ):
                mailbox.set_head(tx, mail.session_id, mail.task_id)
            head = mailbox.lock_head(tx, mail.session_id)
            if answered := store.reply_to(tx, mail.task_id):
                return _Answered(*answered)
            if head != mail.task_id:
                leases.forget(tx, lease)
                return None
            kept = mailbox.find(tx, mail.task_id)
            if kept is None or kept.state is not MailState.WAITING:
                raise PermanentError("its message has already failed", ErrorCode.INVALID_INPUT)
            mails = taken_together(
                mailbox.waiting_mail(tx, mail.session_id, limit=TURN_MESSAGES, since_id=kept.id)
            )
            mailbox.assign_to_turn(tx, [taken.id for taken in mails], turn_id=mail.task_id)
            for other in mails[1:]:
                traces.current().link(traces.extract(as_task(other).options, other.task_id))
            if is_command(mails[0]):
                return _Open(mails)
            return _Open(mails, *store.recall(tx, mail.session_id, limit=HISTORY_LINES))

    def _measure_wait(self, turn: _Open) -> None:
        now = self._clock()
        for mail in turn.mails:
            # A message with a turn id was taken by an earlier run, which has measured its wait.
            if mail.turn_id is None:
                waited = (now - mail.received_at).total_seconds()
                metrics.MESSAGE_WAIT.observe(max(0.0, waited), channel=mail.platform)

    def _ask(self, turn: _Open) -> Reply:
        if is_command(turn.mails[0]):
            return Reply(GREETING, model="greeting")
        if notice := unreadable_reply(turn.mails):
            return Reply(notice, model="notice")
        conversation = [ChatMessage(role=line.role, content=line.content) for line in turn.history]
        conversation += [ChatMessage(role="user", content=line) for line, _ in lines_of(turn.mails)]
        with traces.span("agent answer", attributes={"mirt.messages": len(turn.mails)}) as span:
            answer = self._agent.answer(conversation, summary=turn.summary, tools=TOOLS)
            span.set_attributes(
                {
                    "gen_ai.response.model": answer.model,
                    "gen_ai.usage.input_tokens": answer.prompt_tokens,
                    "gen_ai.usage.output_tokens": answer.completion_tokens,
                }
            )
        planned = plan(answer.text, answer.actions, turn.mails[0])
        return Reply(
            planned.text,
            answer.model,
            answer.prompt_tokens,
            answer.completion_tokens,
            planned.record,
            planned.tasks,
        )

    def _store(self, lease: Lease, mail: Mail, turn: _Open, reply: Reply) -> _Answered:
        def write(tx: Connection) -> None:
            leases.verify(tx, lease)
            if store.find_reply(tx, mail.task_id) is None:
                self._write(tx, mail, turn, reply)

        commit_with_retry(self._database, write)
        others = [other.trace_id for other in turn.mails if other.task_id != mail.task_id]
        log.info(
            "answered",
            messages=len(turn.mails),
            tokens=reply.completion_tokens,
            **({"also_traces": others} if others else {}),
        )
        return _Answered(mail.task_id, reply)

    def _write(self, tx: Connection, mail: Mail, turn: _Open, reply: Reply) -> None:
        now = self._clock()
        heard = lines_of(turn.mails)
        if is_command(turn.mails[0]) and start_payload(turn.mails[0]) is None:
            mailbox.restart(tx, mail.session_id)
            heard = []
        store.store_reply(tx, mail, reply, heard=heard, now=now)
        mailbox.settle(
            tx, turn_id=mail.task_id, task_id=mail.task_id, state=MailState.ANSWERED, now=now
        )
        for task in reply.agent_tasks:
            outbox.add(tx, task, now=now)
        if mail.actor == TaskName.PROCESS_AND_RESPOND:
            add_delivery(tx, delivery_to(turn.mails[-1], mail.task_id, reply.text), now=now)

    def _close(self, lease: Lease, session_id: str) -> list[TaskMessage]:
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            head = self._conversations.promote_next(
                tx, session_id, after=lease.task_id, now=self._clock()
            )
        return [head] if head else []


def _result(mail: Mail, reply: Reply) -> dict[str, Any]:
    return {
        "status": "success",
        "session_id": mail.session_id,
        "response": reply.text,
        "response_length": len(reply.text),
        "platform": mail.platform,
        "chat_id": mail.chat_id,
    }
