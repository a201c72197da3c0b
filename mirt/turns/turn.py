"""A turn: the messages that wait are answered together, once, and the next turn begins.

The life of a turn, each step one transaction that checks the lease first:

1. *open*: find out how far it has come; if the agent has not answered, take what waits with it.
2. ask the agent, outside of any transaction.
3. *store*: reply, history, the answered messages, the pending delivery and the tasks that the
   agent wants done, together.
4. deliver, outside of any transaction.
5. *close*: the next message of the mailbox becomes the head, and is returned to be published.

A turn that was interrupted begins again at 1 and goes on from what it finds. What becomes of one
that fails for good is in ``mirt.turns.failed_turns``.
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
from mirt.llm import PHOTO, Agent, ChatMessage
from mirt.observe import metrics, traces
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases, outbox
from mirt.store.queue.dead_letters import DeadLetterFilter, list_dead
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
from mirt.turns.failed_turns import delivery_to

log = structlog.get_logger(__name__)

HISTORY_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class _Open:
    """A turn that the agent has yet to answer."""

    heard: list[KeptMail]
    summary: str | None = None
    said: list[Said] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A message that has its reply; ``turn_id`` is another's if it was answered with others."""

    turn_id: str
    reply: Reply


class Turns:
    """Answers what waits in the mailboxes."""

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
        """Take the turn of this message as far as it goes.

        Raises:
            RetryableError: it failed now; what is stored stays, another attempt goes on from there.
            PermanentError: it will never succeed; call ``FailedTurns.failed``.
            LeaseLostError: another worker has it.
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
        """Send a text that is already known; if it stands at the head of a mailbox, go on there."""
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            add_delivery(tx, delivery, now=self._clock())
            kept = find_delivery(tx, delivery.id)
        result = self._deliveries.deliver(lease, delivery.id)
        session_id = kept.session_id if kept else delivery.session_id
        return TaskOutcome(result, self._close(lease, session_id))

    def result_of(self, mail: Mail) -> dict[str, Any] | None:
        """The result of a message, once it was answered, in its own turn or in another's.

        Raises:
            PermanentError: the turn has failed for good, and with what code.
        """
        with self._database.transaction() as tx:
            if answered := store.reply_to(tx, mail.task_id):
                return _result(mail, answered[1])
            kept = mailbox.find(tx, mail.task_id)
            if kept is None or kept.state is not MailState.FAILED:
                return None
            dead = list_dead(tx, DeadLetterFilter(task_ids=[kept.turn_id or kept.task_id]))
        code = dead[0].error_code if dead else ErrorCode.UNEXPECTED
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
            heard = taken_together(
                mailbox.waiting_mail(tx, mail.session_id, limit=TURN_MESSAGES, since_id=kept.id)
            )
            mailbox.assign_to_turn(tx, [one.id for one in heard], turn_id=mail.task_id)
            for other in heard[1:]:
                traces.current().link(traces.extract(as_task(other).options, other.task_id))
            if is_command(heard[0]):
                return _Open(heard)
            return _Open(heard, *store.recall(tx, mail.session_id, limit=HISTORY_LINES))

    def _measure_wait(self, turn: _Open) -> None:
        now = self._clock()
        for mail in turn.heard:
            # Whoever was taken with the turn before, or began it, has waited no longer than then.
            if mail.turn_id is None:
                waited = (now - mail.received_at).total_seconds()
                metrics.MESSAGE_WAIT.observe(max(0.0, waited), channel=mail.platform)

    def _ask(self, turn: _Open) -> Reply:
        if is_command(turn.heard[0]):
            return Reply(GREETING, model="greeting")
        conversation = [ChatMessage(role=said.role, content=said.content) for said in turn.said]
        conversation += [ChatMessage(role="user", content=_heard(mail)) for mail in turn.heard]
        with traces.span("agent answer", attributes={"mirt.messages": len(turn.heard)}) as asked:
            answer = self._agent.answer(conversation, summary=turn.summary, tools=TOOLS)
            asked.set_attributes(
                {
                    "gen_ai.response.model": answer.model,
                    "gen_ai.usage.input_tokens": answer.prompt_tokens,
                    "gen_ai.usage.output_tokens": answer.completion_tokens,
                }
            )
        planned = plan(answer.text, answer.actions, turn.heard[0])
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
        others = [one.trace_id for one in turn.heard if one.task_id != mail.task_id]
        log.info(
            "answered",
            messages=len(turn.heard),
            tokens=reply.completion_tokens,
            **({"also_traces": others} if others else {}),
        )
        return _Answered(mail.task_id, reply)

    def _write(self, tx: Connection, mail: Mail, turn: _Open, reply: Reply) -> None:
        now = self._clock()
        heard = [(_heard(one), one.received_at) for one in turn.heard]
        if is_command(turn.heard[0]):
            mailbox.restart(tx, mail.session_id)
            heard = []
        store.store_reply(tx, mail, reply, heard=heard, now=now)
        mailbox.settle(
            tx, turn_id=mail.task_id, task_id=mail.task_id, state=MailState.ANSWERED, now=now
        )
        for task in reply.agent_tasks:
            outbox.add(tx, task, now=now)
        if mail.actor == TaskName.PROCESS_AND_RESPOND:
            add_delivery(tx, delivery_to(turn.heard[-1], mail.task_id, reply.text), now=now)

    def _close(self, lease: Lease, session_id: str) -> list[TaskMessage]:
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            following = self._conversations.promote_next(
                tx, session_id, after=lease.task_id, now=self._clock()
            )
        return [following] if following else []


def _result(mail: Mail, reply: Reply) -> dict[str, Any]:
    return {
        "status": "success",
        "session_id": mail.session_id,
        "response": reply.text,
        "response_length": len(reply.text),
        "platform": mail.platform,
        "chat_id": mail.chat_id,
    }


def _heard(mail: Mail) -> str:
    return " ".join(filter(None, (PHOTO if mail.metadata.get("photo") else "", mail.text)))
