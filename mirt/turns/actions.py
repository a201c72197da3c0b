"""Turn the actions that the agent asks for into tasks, after validation.

The agent asks in a structured call, never in free text. Each call is first taken for what it means
(``mirt.turns.arguments``), then validated. An order that lacks something creates no task: the reply
asks the customer for it, and replaces the agent's text. If what is wrong is nothing that a customer
can answer for, the order has failed: the customer is told, the log and a metric say so. What is
beyond the limits (``mirt.turns.limits``) is refused, or waits for a person.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirt.llm import Action, Tool
from mirt.observe import metrics, traces
from mirt.observe.printable import printable
from mirt.orders import (
    AGREED_SCHEMA,
    AgreedOrder,
    Item,
    OrderProblems,
    external_id,
    read_agreed_order,
)
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import KeptMail
from mirt.store.shop.orders import NewOrder
from mirt.store.shop.staff_task import tell_staff_task
from mirt.store.shop.turns import Said
from mirt.task_names import TaskName
from mirt.texts import OUR_TEXTS, Texts, asked_for
from mirt.turns.arguments import understand
from mirt.turns.limits import MOST_NAMED, AgentLimits, Limit
from mirt.turns.notes import ORDER_TOOL

log = structlog.get_logger(__name__)


class _Marks(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    fields: dict[str, str] = Field(default_factory=dict)
    add_tags: list[str] = Field(default_factory=list)
    remove_tags: list[str] = Field(default_factory=list)


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    wanted: bool


class _PersonAsked(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    reason: str = ""


ORDER: Final = Tool(
    ORDER_TOOL,
    "Створи замовлення. Лише після того, як покупець підтвердив його повністю, і лише раз.",
    AGREED_SCHEMA,
)
MARKS: Final = Tool(
    "remember_customer",
    "Запам'ятай покупця для колег: поля (назва і значення) та позначки.",
    _Marks.model_json_schema(),
)
FOLLOWUPS: Final = Tool(
    "set_reminders",
    "Покупець просить більше не писати йому першим і не нагадувати про себе (wanted: false) або "
    "знову просить нагадувати (wanted: true).",
    _Wanted.model_json_schema(),
)
ASK_PERSON: Final = Tool(
    "ask_a_person",
    "Поклич колегу: покупець просить людину, скаржиться, або ти не можеш допомогти. Після цієї "
    "відповіді розмову веде колега; скажи покупцеві, що передаєш її. reason — причина для колеги, "
    "одним реченням.",
    _PersonAsked.model_json_schema(),
)
NO_REASON: Final = "причини не вказано"
CANNOT_ORDER: Final = "Замовлення не вдається оформити, двічі перепитано"
MOST_ASKED: Final = 2
"""Times that a customer is asked for the same field of an order."""
LONGEST_REASON: Final = 500
"""Characters of the reason that a colleague reads."""
NO_LIMITS_OF_NAMES: Final = AgentLimits()


def tools(limits: AgentLimits = NO_LIMITS_OF_NAMES) -> Sequence[Tool]:
    """Return the tools that the agent gets, with the names of marks that the shop allows."""
    marks = limits.tool_of_marks(MARKS)
    return [tool for tool in (ORDER, marks, FOLLOWUPS, ASK_PERSON) if tool is not None]


TOOLS: Final = tools()


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of the agent's answer: the text for the customer, and the tasks to create.

    ``record`` has an entry for each action: its task id, with the items of an order; or its wrong
    fields, or the limit by which it was refused or waits for a person. ``to_approve`` are the
    orders that wait. ``asks_for_person`` is why the agent wants to hand the conversation over.
    """

    text: str
    tasks: Sequence[TaskMessage] = ()
    record: Sequence[Mapping[str, Any]] = field(default_factory=list)
    to_approve: Sequence[NewOrder] = ()
    asks_for_person: str | None = None


def plan(
    text: str,
    actions: Iterable[Action],
    mail: KeptMail,
    texts: Texts = OUR_TEXTS,
    *,
    limits: AgentLimits = NO_LIMITS_OF_NAMES,
    orders_today: Callable[[], int] = lambda: 0,
    history: Sequence[Said] = (),
) -> Plan:
    """Make tasks of the actions of a turn. Their ids derive from the turn's, so they exist once.

    ``orders_today`` returns the number of orders of this customer in the last 24 hours. ``history``
    are the last lines of the conversation: what it was asked for twice already, a person asks.
    """
    planner = _Planner(text, mail, texts, limits, orders_today, history)
    for number, action in enumerate(actions):
        planner.take(action, f"{mail.task_id}:{number}")
    return planner.plan()


class _RefusedError(Exception):
    """An action beyond a limit; ``left_out`` names the marks that were not allowed."""

    def __init__(self, limit: Limit, left_out: Sequence[str] = ()) -> None:
        super().__init__(limit)
        self.limit = limit
        self.left_out = left_out


class _UnreadableError(Exception):
    """Arguments of an action that cannot be understood."""


class _Planner:
    """The plan of one turn while its actions are taken, one after the other."""

    def __init__(
        self,
        text: str,
        mail: KeptMail,
        texts: Texts,
        limits: AgentLimits,
        orders_today: Callable[[], int],
        history: Sequence[Said],
    ) -> None:
        self._text = text
        self._mail = mail
        self._texts = texts
        self._limits = limits
        self._orders_today = orders_today
        self._asked_before = _times_asked(history)
        self._taken = Counter[str]()
        self._refused_orders = 0
        self._tasks: list[TaskMessage] = []
        self._to_approve: list[NewOrder] = []
        self._record: list[dict[str, Any]] = []
        self._asks_for_person: str | None = None
        self._staff_task_id: str | None = None

    def take(self, action: Action, task_id: str) -> None:
        """Add the task of an action to the plan, or the reason why it has none."""
        entry: dict[str, Any] = {"action": action.name}
        try:
            self._check_number(action)
            entry |= self._effect(action, task_id)
            self._taken[action.name] += 1
        except OrderProblems as wrong:
            entry["wrong"] = wrong.fields
            if often := self._asked_often(wrong.fields):
                entry["left_to_person"] = often
                self._leave_to_person(often, task_id)
            else:
                self._text = _refuse_order(wrong.fields, self._texts)
        except (ValidationError, _UnreadableError):
            _count(action, "failed")
            log.warning("marks_not_understood")
            entry["wrong"] = ["arguments"]
        except _RefusedError as refused:
            entry |= self._refuse(action, refused)
        self._record.append(entry)

    def plan(self) -> Plan:
        """Return the plan of the actions that were taken."""
        text = self._text or _text_for(self._tasks, self._texts)
        if self._to_approve:
            text = self._texts.order_needs_approval
        elif self._refused_orders:
            text = f"{text}\n\n{self._texts.one_order_at_a_time}"
        return Plan(text, self._tasks, self._record, self._to_approve, self._asks_for_person)

    def _check_number(self, action: Action) -> None:
        taken = self._taken[action.name]
        if action.name == ORDER.name:
            if self._limits.orders_per_turn and taken >= self._limits.orders_per_turn:
                raise _RefusedError(Limit.ORDERS_PER_TURN)
        elif taken:
            raise _RefusedError(Limit.CALLS_PER_TURN)

    def _effect(self, action: Action, task_id: str) -> dict[str, Any]:
        """Plan what an action causes, and return what its record says of it."""
        if action.name == ORDER.name:
            return self._order(action, task_id)
        if action.name == ASK_PERSON.name:
            return self._ask_for_person(action, task_id)
        if not action.is_readable:
            raise _UnreadableError
        if action.name == FOLLOWUPS.name:
            arguments = understand(action.arguments, FOLLOWUPS.parameters)
            wanted = _Wanted.model_validate(arguments).wanted
            self._tasks.append(_set_followups(self._mail, task_id, wanted=wanted))
            left_out: Sequence[str] = ()
        else:
            left_out = self._mark(action, task_id)
        _count(action, "taken")
        named = {"left_out": left_out[:MOST_NAMED]} if left_out else {}
        return {"task_id": task_id, **named}

    def _order(self, action: Action, task_id: str) -> dict[str, Any]:
        if not action.is_readable:
            raise OrderProblems({"arguments": "cannot be understood"})
        mail = self._mail
        agreed = read_agreed_order(understand(action.arguments, AGREED_SCHEMA))
        name = external_id(agreed, mail.platform, mail.session_id, mail.received_at.date())
        data = {
            **agreed.model_dump(mode="json"),
            "external_id": name,
            "source": mail.platform,
            "source_id": mail.session_id,
        }
        about = {"order": name, "items": [_in_words(item) for item in agreed.items]}
        if limit := self._approval_of(agreed):
            _count(action, "waits")
            metrics.AGENT_LIMITS.inc(limit=limit)
            log.warning("order_needs_approval", external_id=name, limit=limit)
            self._to_approve.append(
                NewOrder(name, task_id, mail.session_id, mail.platform, data, mail.trace_id, limit)
            )
            return {**about, "approval": limit}
        _count(action, "taken")
        options, kwargs = _options(mail), {"order_data": data}
        self._tasks.append(
            TaskMessage(task_id, TaskName.CREATE_CRM_ORDER, kwargs=kwargs, options=options)
        )
        return {"task_id": task_id, **about}

    def _ask_for_person(self, action: Action, task_id: str) -> dict[str, Any]:
        """Plan to tell the staff. A call whose reason cannot be read still asks for a person."""
        given = understand(action.arguments, ASK_PERSON.parameters)
        reason = printable(str(given.get("reason") or ""))[:LONGEST_REASON] or NO_REASON
        _count(action, "taken")
        return {"task_id": self._tell_staff(reason, task_id)}

    def _asked_often(self, fields: Sequence[str]) -> list[str]:
        return [one for one in asked_for(fields) if self._asked_before[one] >= MOST_ASKED]

    def _leave_to_person(self, fields: Sequence[str], task_id: str) -> None:
        """Plan that a person asks for these fields of an order: the customer has tried twice."""
        metrics.AGENT_ACTIONS.inc(action=ORDER.name, outcome="left_to_person")
        log.warning("order_left_to_person", fields=fields)
        named = ", ".join(self._texts.order_fields[one] for one in fields)
        self._text = self._texts.person_asked
        self._tell_staff(f"{CANNOT_ORDER}: {named}", task_id)

    def _tell_staff(self, reason: str, task_id: str) -> str:
        """Plan the handover, and its message to the staff, once; return the id of that task."""
        if self._staff_task_id is not None:
            return self._staff_task_id
        self._asks_for_person = reason
        task = tell_staff_task(task_id, self._mail.session_id, reason)
        self._tasks.append(task)
        self._staff_task_id = task.task_id
        return task.task_id

    def _approval_of(self, order: AgreedOrder) -> Limit | None:
        before = self._orders_today() + self._taken[ORDER.name]
        return self._limits.approval_of(order, orders_today=before)

    def _mark(self, action: Action, task_id: str) -> Sequence[str]:
        """Plan the marks that are allowed, and return the others in words."""
        marks = _Marks.model_validate(understand(action.arguments, MARKS.parameters))
        allowed, left_out = self._limits.allowed_marks(marks.model_dump())
        if left_out and not any(allowed.values()):
            raise _RefusedError(Limit.MARKS, left_out)
        if left_out:
            metrics.AGENT_LIMITS.inc(limit=Limit.MARKS)
            log.warning("marks_left_out", number=len(left_out))
        mail = self._mail
        kwargs = {"platform": mail.platform, "chat_id": mail.chat_id or mail.session_id, **allowed}
        self._tasks.append(
            TaskMessage(task_id, TaskName.MARK_CUSTOMER, kwargs=kwargs, options=_options(mail))
        )
        return left_out

    def _refuse(self, action: Action, refused: _RefusedError) -> dict[str, Any]:
        _count(action, "refused")
        metrics.AGENT_LIMITS.inc(limit=refused.limit)
        log.warning("action_refused", action=action.name, limit=refused.limit)
        self._refused_orders += action.name == ORDER.name
        named = {"left_out": refused.left_out[:MOST_NAMED]} if refused.left_out else {}
        return {"refused": refused.limit, **named}


def _times_asked(history: Sequence[Said]) -> Counter[str]:
    """Return how often these lines asked for each field of an order, since the last whole one."""
    times = Counter[str]()
    for line in history:
        for action in line.actions:
            if action.get("action") != ORDER.name:
                continue
            if "wrong" not in action:
                times.clear()
            times.update(set(asked_for(action.get("wrong", ()))))
    return times


def stop_followups(mail: KeptMail, texts: Texts) -> Plan:
    """Return the plan for a customer who has sent ``/stop``."""
    task = _set_followups(mail, f"{mail.task_id}:stop", wanted=False)
    return Plan(
        texts.no_more_followups, [task], [{"action": FOLLOWUPS.name, "task_id": task.task_id}]
    )


def _set_followups(mail: KeptMail, task_id: str, *, wanted: bool) -> TaskMessage:
    kwargs = {"session_id": mail.session_id, "wanted": wanted}
    return TaskMessage(task_id, TaskName.SET_FOLLOWUPS, kwargs=kwargs, options=_options(mail))


def _options(mail: KeptMail) -> dict[str, str]:
    return {
        "trace_id": mail.trace_id,
        "session_id": mail.session_id,
        **traces.context_of(mail.trace_id),
    }


def _text_for(tasks: Sequence[TaskMessage], texts: Texts) -> str:
    """Return the text for a customer who gets no text from the agent."""
    if not tasks:
        return texts.received
    asked_for = {task.actor for task in tasks}
    if TaskName.CREATE_CRM_ORDER in asked_for:
        return texts.order_taken
    return texts.person_asked if TaskName.TELL_STAFF in asked_for else texts.understood


def _refuse_order(wrong: Sequence[str], texts: Texts) -> str:
    """Return the question for what is wrong with an order, or say that the order has failed."""
    question = texts.missing_from_order(wrong)
    metrics.AGENT_ACTIONS.inc(action=ORDER.name, outcome="asked" if question else "failed")
    if question is None:
        log.warning("order_not_taken", fields=wrong)
        return texts.order_not_taken
    log.info("order_incomplete", fields=wrong)
    return question


def _count(action: Action, outcome: str) -> None:
    metrics.AGENT_ACTIONS.inc(action=action.name, outcome=outcome)


def _in_words(item: Item) -> str:
    return f"{item.product_name}, {item.size}, {item.color}, {item.quantity} шт. по {item.price}"
