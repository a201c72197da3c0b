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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.conversations import (
    TURN_MESSAGES,
    Conversations,
    as_task,
    is_command,
    is_stop,
    taken_together,
)
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, LeaseLostError, PermanentError
from mirt.llm import Agent
from mirt.llm.content import whole_sentences
from mirt.observe import metrics, traces
from mirt.observe.texts import loggable
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.engine.statements import Query, Row, fetch_all
from mirt.store.queue import leases
from mirt.store.queue.dead_letters import find_dead
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage, TaskOutcome
from mirt.store.shop import mailbox
from mirt.store.shop import turn_steps as steps
from mirt.store.shop import turns as store
from mirt.store.shop.deliveries import (
    Delivery,
    DeliveryState,
    add_delivery,
    find_delivery,
)
from mirt.store.shop.handovers import Move, ask_for_person, withheld_name
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.store.shop.turn_steps import Opening
from mirt.store.shop.turns import Recalled, Reply
from mirt.task_names import TaskName
from mirt.texts import OUR_TEXTS, Texts
from mirt.turns.actions import MARKS, ORDER, Plan, plan, stop_followups, tools
from mirt.turns.asking import ask
from mirt.turns.attendance import NO_LIMIT, Attendance
from mirt.turns.content import lines_of, messages_of, start_payload, unreadable_reply
from mirt.turns.failed_turns import delivery_to
from mirt.turns.goal import DEFAULT_GOAL, ReplyGoal
from mirt.turns.limits import AgentLimits, Limit
from mirt.turns.person_tags import NO_TAGS, PersonTags
from mirt.turns.pictures import Pictures

log = structlog.get_logger(__name__)

HISTORY_LINES: Final = 20
"""Earlier messages that the agent gets with a turn."""
LONGEST_REPLY: Final = 16_000
"""Characters of a reply that the customer gets, and later turns: at most five parts on any channel.
"""
DAY: Final = timedelta(days=1)
"""Time over which the tokens of a conversation are counted."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A turn without an answer, with the mail that it answers and what was said before."""

    mails: list[KeptMail]
    known: Recalled = field(default_factory=Recalled)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A message that has a reply. ``turn_id`` differs from its id if another turn answered it.

    ``announced`` is its delivery, whose first part this run has announced.
    """

    turn_id: str
    reply: Reply
    announced: Delivery | None = None


@dataclass(frozen=True, slots=True)
class _Withheld:
    """A turn whose answer is stored and not sent: a person has taken the conversation over."""


@dataclass(frozen=True, slots=True)
class _Parked:
    """A message that waits in its mailbox: another one is the head."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A message that can have no answer any more."""

    error: PermanentError


_Stage = _Open | _Answered | _Parked | _Refused | _Withheld


@dataclass(frozen=True, slots=True)
class _Opened:
    """A turn that was opened in the transaction of its claim."""

    mail: KeptMail
    stage: _Stage


class Turns:
    """The turns of all conversations."""

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        deliveries: Deliveries,
        agent: Agent,
        clock: Clock,
        *,
        max_tokens_per_day: int = 0,
        limits: AgentLimits | None = None,
        attendance: Attendance = NO_LIMIT,
        tags: PersonTags = NO_TAGS,
        texts: Texts = OUR_TEXTS,
        pictures: Pictures | None = None,
        goal: ReplyGoal = DEFAULT_GOAL,
    ) -> None:
        """Take the tokens that one conversation may cost in a day; 0: no limit.

        ``limits`` are those of the agent's actions. Without ``pictures`` none is looked at.
        """
        self._database = database
        self._conversations = conversations
        self._deliveries = deliveries
        self._agent = agent
        self._clock = clock
        self._texts = texts
        self._pictures = pictures
        self._goal = goal
        self._max_tokens = max_tokens_per_day
        self._attendance = attendance
        self._tags = tags
        self._limits = limits or AgentLimits()
        self._tools = tools(self._limits)
        # A series that begins with its first event has no growth, and raises no alert.
        for limit in ("tokens", *Limit):
            metrics.AGENT_LIMITS.inc(0, limit=limit)
        metrics.AGENT_ACTIONS.inc(0, action=MARKS.name, outcome="refused")
        for outcome in ("failed", "changed", "refused", "waits"):
            metrics.AGENT_ACTIONS.inc(0, action=ORDER.name, outcome=outcome)

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
        if isinstance(stage, _Parked):
            return TaskOutcome(None, parked=True)
        if isinstance(stage, _Refused):
            raise stage.error
        if isinstance(stage, _Open):
            self._measure_wait(stage)
            leases.ensure_held(self._database, lease, self._clock)
            stage = self._store(lease, mail, stage, self._ask(stage))
        if isinstance(stage, _Withheld):
            return TaskOutcome(None, parked=True, finished=True)
        result = _result(mail, stage.reply)
        close = partial(self._close, lease, mail.session_id)
        if mail.actor == TaskName.PROCESS_AND_RESPOND and stage.turn_id == mail.task_id:
            result["delivery"], head = self._deliveries.deliver_and_end(
                lease, stage.announced or mail.task_id, close
            )
        else:
            head = commit_with_retry(self._database, close)
        metrics.TURN_SECONDS.observe(time.perf_counter() - began)
        self._goal.replied(mail, self._clock())
        return TaskOutcome(result, [*head.verified(), *stage.reply.agent_tasks], finished=True)

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
        session_id = kept.session_id if kept else delivery.session_id
        result, head = self._deliveries.deliver_and_end(
            lease, delivery.id, partial(self._close, lease, session_id)
        )
        return TaskOutcome(result, head.verified(), finished=True)

    def result_of(self, mail: Mail) -> dict[str, Any] | None:
        """Return the result of a message that its own turn or another one has answered, or None.

        Raises:
            PermanentError: the turn has failed for good; with the code of its dead letter.
        """
        with self._database.transaction() as tx:
            if answered := store.reply_to(tx, mail.task_id):
                return _result(mail, answered[1])
            kept = mailbox.find(tx, mail.task_id)
            if kept is not None and kept.state is MailState.CANCELLED:
                raise PermanentError("an operator has cancelled the task", ErrorCode.CANCELLED)
            if kept is None or kept.state is not MailState.FAILED:
                return None
            dead_letter = find_dead(tx, kept.turn_id or kept.task_id)
        code = dead_letter.error_code if dead_letter else ErrorCode.UNEXPECTED
        raise PermanentError("the task has failed for good", code)

    def reads(self, task: TaskMessage) -> Sequence[Query]:
        """Return the queries that open the turn of a message (``ClaimHook``)."""
        return self._opening_reads(task.task_id, str(task.kwargs.get("session_id")))

    def _opening_reads(self, task_id: str, session_id: str) -> list[Query]:
        since = self._clock() - DAY
        return steps.opening_reads(
            task_id, session_id, mails=TURN_MESSAGES, lines=HISTORY_LINES, cost_since=since
        )

    def claimed(
        self, tx: Connection, lease: Lease, task: TaskMessage, found: Sequence[Sequence[Row]]
    ) -> object:
        """Open the turn in the transaction of its claim, if its mail has a row (``ClaimHook``)."""
        opening = steps.read_opening(found)
        if opening.mail is None:
            return None
        return _Opened(opening.mail, self._begin(tx, lease, opening, opening.mail))

    def mail_of(self, lease: Lease) -> Mail | None:
        """Return the mail of a task whose turn was opened with its claim; None without a row."""
        return lease.opened.mail if isinstance(lease.opened, _Opened) else None

    def _open(self, lease: Lease, mail: Mail) -> _Stage:
        if isinstance(lease.opened, _Opened):
            return lease.opened.stage
        reads = self._opening_reads(mail.task_id, mail.session_id)
        with self._database.transaction() as tx:
            opening = steps.read_opening(leases.verify_and_read(tx, lease, reads))
            if opening.mail is None:
                self._add(tx, mail)
                opening = steps.read_opening(fetch_all(tx, reads))
            return self._begin(tx, lease, opening, opening.mail)

    def _add(self, tx: Connection, mail: Mail) -> None:
        """Put a message into its mailbox that was sent straight to the broker."""
        now = self._clock()
        mailbox.add(tx, mail, now=now)
        if mailbox.record_activity_and_lock(tx, mail, now=now).is_idle:
            mailbox.set_head(tx, mail.session_id, mail.task_id)

    def _begin(
        self, tx: Connection, lease: Lease, opening: Opening, mail: KeptMail | None
    ) -> _Stage:
        if opening.answered is not None:
            return self._continue(tx, opening, *opening.answered)
        if opening.head != lease.task_id:
            leases.forget(tx, lease)
            return _Parked()
        if mail is None or mail.state is not MailState.WAITING:
            refused = PermanentError("its message has already failed", ErrorCode.INVALID_INPUT)
            return _Refused(refused)
        mails = taken_together(opening.waiting)
        steps.assign_to_turn(tx, mails, turn_id=lease.task_id)
        for other in mails[1:]:
            traces.current().link(traces.extract(as_task(other).options, other.task_id))
        if is_command(mails[0]):
            return _Open(mails)
        return _Open(mails, opening.known)

    def _continue(self, tx: Connection, opening: Opening, turn_id: str, reply: Reply) -> _Answered:
        """Go on with a stored reply. One that was withheld answers its mail only now."""
        mails = [mail for mail in opening.waiting if mail.turn_id == turn_id]
        if not mails:
            return _Answered(turn_id, reply)
        now, heard = self._clock(), _heard(tx, mails)
        tasks = steps.release_answer(tx, mails[0], reply, heard=heard, now=now)
        return _Answered(turn_id, replace(reply, agent_tasks=tasks))

    def _measure_wait(self, turn: _Open) -> None:
        now = self._clock()
        for mail in turn.mails:
            # A message with a turn id was taken by an earlier run, which has measured its wait.
            if mail.turn_id is None:
                waited = (now - mail.received_at).total_seconds()
                metrics.MESSAGE_WAIT.observe(max(0.0, waited), channel=mail.platform)

    def _ask(self, turn: _Open) -> Reply:
        if is_command(turn.mails[0]):
            return Reply(self._texts.greeting, model="greeting")
        if is_stop(turn.mails[0]):
            stopped = stop_followups(turn.mails[0], self._texts)
            return Reply(stopped.text, "stop", actions=stopped.record, agent_tasks=stopped.tasks)
        pictures = self._pictures.of(turn.mails) if self._pictures else {}
        notice = unreadable_reply(turn.mails, self._texts)
        if notice and not pictures:
            return Reply(notice, model="notice")
        if self._max_tokens and turn.known.tokens >= self._max_tokens:
            metrics.AGENT_LIMITS.inc(limit="tokens")
            log.warning("token_limit_reached", tokens=turn.known.tokens)
            return Reply(self._texts.enough_for_today, model="limit")
        messages = messages_of(turn.mails, pictures)
        with traces.span("agent answer", attributes={"mirt.messages": len(turn.mails)}) as span:
            answer = ask(self._agent, turn.known, messages, tools=self._tools)
            span.set_attributes(
                {
                    "gen_ai.response.model": answer.model,
                    "gen_ai.usage.input_tokens": answer.prompt_tokens,
                    "gen_ai.usage.output_tokens": answer.completion_tokens,
                }
            )
        text, record = _cut(answer.text)
        planned = plan(
            text,
            answer.actions,
            turn.mails[0],
            self._texts,
            limits=self._limits,
            orders_today=partial(self._orders_today, turn.mails[0].session_id),
            history=turn.known.lines,
        )
        return Reply(
            planned.text,
            answer.model,
            answer.prompt_tokens,
            answer.completion_tokens,
            [*record, *planned.record],
            [*planned.tasks, *self._tag(turn.mails[0], planned)],
            planned.to_approve,
            planned.asks_for_person,
        )

    def _tag(self, mail: Mail, planned: Plan) -> list[TaskMessage]:
        """Return the task that marks the customer, if the agent asks for a person."""
        if planned.asks_for_person is None:
            return []
        task = self._tags.task(
            mail.platform, mail.chat_id, is_set=True, name=mail.session_id, now=self._clock()
        )
        return [task] if task else []

    def _orders_today(self, session_id: str) -> int:
        with self._database.transaction() as tx:
            return store.count_orders(tx, session_id, since=self._clock() - DAY)

    def _store(self, lease: Lease, mail: Mail, turn: _Open, reply: Reply) -> _Answered | _Withheld:
        delivery = None
        if mail.actor == TaskName.PROCESS_AND_RESPOND:
            delivery = self._deliveries.announced(
                delivery_to(turn.mails[-1], mail.task_id, reply.text)
            )

        withheld_as = withheld_name(mail.task_id, self._clock())

        def write(tx: Connection) -> bool:
            reads = [steps.locking_head(mail.session_id), steps.finding_turn(mail.task_id)]
            try:
                head, stored = leases.verify_and_read(tx, lease, reads)
            except LeaseLostError:
                if leases.was_finished(tx, lease):  # by a commit that was not confirmed
                    return False
                raise
            if not stored and not steps.is_head(head, mail.task_id):
                # No person is asked for: one is there.
                asks = reply.asks_for_person is not None
                kept = replace(reply, agent_tasks=()) if asks else reply
                steps.store_withheld(tx, mail, kept, withheld_as, delivery, now=self._clock())
                leases.finish(tx, lease, now=self._clock())
                return False
            if not stored:
                self._write(tx, mail, turn, reply, delivery)
            return True

        if not commit_with_retry(self._database, write):
            log.info("answer_withheld", messages=len(turn.mails), tokens=reply.completion_tokens)
            return _Withheld()
        if reply.asks_for_person is not None:
            metrics.HANDOVER_MOVES.inc(move=Move.ASK.value)
            log.info("person_asked", session_id=mail.session_id)
        others = [other.trace_id for other in turn.mails if other.task_id != mail.task_id]
        log.info(
            "answered",
            messages=len(turn.mails),
            tokens=reply.completion_tokens,
            **loggable(reply.text),
            **({"also_traces": others} if others else {}),
        )
        is_announced = delivery is not None and delivery.state is DeliveryState.SENDING
        return _Answered(mail.task_id, reply, delivery if is_announced else None)

    def _write(
        self, tx: Connection, mail: Mail, turn: _Open, reply: Reply, delivery: Delivery | None
    ) -> None:
        heard = _heard(tx, turn.mails)
        now = self._clock()
        steps.store_answer(tx, mail, reply, heard=heard, delivery=delivery, now=now)
        if reply.asks_for_person is not None:
            until = self._attendance.until(now)
            ask_for_person(
                tx, mail.session_id, reply.asks_for_person, turn=mail.task_id, until=until, now=now
            )
            self._attendance.watch(tx, mail.session_id, now, now=now)

    def _close(self, lease: Lease, session_id: str, tx: Connection) -> "_Closing":
        """Finish the task and promote the next head, unless the lease is lost.

        The outcome of the delivery is written in the same transaction, and stands in either case.
        """
        now = self._clock()
        reads = [leases.finishing(lease, now=now), *self._conversations.closing_reads(session_id)]
        [finished, *found] = fetch_all(tx, reads)
        if not finished:
            if leases.was_finished(tx, lease):
                return _Closing(lease, head=self._conversations.head_among(found))
            return _Closing(lease, is_lost=True)
        head = self._conversations.promote(tx, session_id, found, after=lease.task_id, now=now)
        return _Closing(lease, head=head)


@dataclass(frozen=True, slots=True)
class _Closing:
    """The end of a turn: the next head to publish, or a lost lease."""

    lease: Lease
    head: TaskMessage | None = None
    is_lost: bool = False

    def verified(self) -> list[TaskMessage]:
        """Return the tasks to publish.

        Raises:
            LeaseLostError: another worker has the task.
        """
        if self.is_lost:
            raise LeaseLostError(f"the lease on task {self.lease.task_id} is lost")
        return [self.head] if self.head else []


def _heard(tx: Connection, mails: Sequence[KeptMail]) -> list[tuple[str, datetime]]:
    """Return what the history gets of this mail; a customer who begins afresh leaves nothing."""
    if is_command(mails[0]) and start_payload(mails[0]) is None:
        mailbox.restart(tx, mails[0].session_id)
        return []
    return lines_of(mails)


def _cut(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return a reply that is not too long, and the record of what was cut off."""
    if len(text) <= LONGEST_REPLY:
        return text, []
    kept = whole_sentences(text[:LONGEST_REPLY]) or text[:LONGEST_REPLY]
    log.warning("reply_cut", characters=len(text), kept=len(kept))
    return kept, [{"action": "reply", "cut_from": len(text)}]


def _result(mail: Mail, reply: Reply) -> dict[str, Any]:
    return {
        "status": "success",
        "session_id": mail.session_id,
        "response": reply.text,
        "response_length": len(reply.text),
        "platform": mail.platform,
        "chat_id": mail.chat_id,
    }
