"""Turn the actions that the agent asks for into tasks, after validation.

The agent asks in a structured call, never in free text. Each call is first taken for what it means
(``mirt.turns.arguments``), then validated. An order that lacks something creates no task: the reply
asks the customer for it, and replaces the agent's text. If what is wrong is nothing that a customer
can answer for, the order has failed: the customer is told, the log and a metric say so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirt.llm import Action, Tool
from mirt.observe import metrics, traces
from mirt.orders import (
    AGREED_SCHEMA,
    Item,
    OrderProblems,
    external_id,
    read_agreed_order,
)
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import KeptMail
from mirt.task_names import TaskName
from mirt.texts import OUR_TEXTS, Texts
from mirt.turns.arguments import understand
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
TOOLS: Final = (ORDER, MARKS, FOLLOWUPS)


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of the agent's answer: the text for the customer, and the tasks to create.

    ``record`` has an entry for each action: its task id, with the items of an order, or its wrong
    fields.
    """

    text: str
    tasks: Sequence[TaskMessage] = ()
    record: Sequence[Mapping[str, Any]] = field(default_factory=list)


def plan(text: str, actions: Iterable[Action], mail: KeptMail, texts: Texts = OUR_TEXTS) -> Plan:
    """Make tasks of the actions of a turn. Their ids derive from the turn's, so they exist once."""
    tasks: list[TaskMessage] = []
    record: list[dict[str, Any]] = []
    for number, action in enumerate(actions):
        entry: dict[str, Any] = {"action": action.name}
        try:
            task, items = _task(action, mail, f"{mail.task_id}:{number}")
        except OrderProblems as wrong:
            text = _refuse_order(wrong.fields, texts)
            record.append({**entry, "wrong": wrong.fields})
        except (ValidationError, _UnreadableError):
            _count(action, "failed")
            log.warning("marks_not_understood")
            record.append({**entry, "wrong": ["arguments"]})
        else:
            _count(action, "taken")
            tasks.append(task)
            record.append({**entry, "task_id": task.task_id, **({"items": items} if items else {})})
    return Plan(text or _text_for(tasks, texts), tasks, record)


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
    ordered = any(task.actor == TaskName.CREATE_CRM_ORDER for task in tasks)
    return texts.order_taken if ordered else texts.understood


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


class _UnreadableError(Exception):
    """Marks whose arguments cannot be understood."""


def _task(action: Action, mail: KeptMail, task_id: str) -> tuple[TaskMessage, list[str]]:
    """Return the task of an action, and the items of an order in words."""
    options = _options(mail)
    if action.name != ORDER.name and not action.is_readable:
        raise _UnreadableError
    if action.name == FOLLOWUPS.name:
        wanted = _Wanted.model_validate(understand(action.arguments, FOLLOWUPS.parameters)).wanted
        return _set_followups(mail, task_id, wanted=wanted), []
    if action.name == MARKS.name:
        marks = _Marks.model_validate(understand(action.arguments, MARKS.parameters)).model_dump()
        customer = {"platform": mail.platform, "chat_id": mail.chat_id or mail.session_id}
        kwargs = {**customer, **marks}
        return TaskMessage(task_id, TaskName.MARK_CUSTOMER, kwargs=kwargs, options=options), []
    if not action.is_readable:
        raise OrderProblems({"arguments": "cannot be understood"})
    agreed = read_agreed_order(understand(action.arguments, AGREED_SCHEMA))
    order = {
        **agreed.model_dump(mode="json"),
        "external_id": external_id(agreed, mail.platform, mail.session_id, mail.received_at.date()),
        "source": mail.platform,
        "source_id": mail.session_id,
    }
    return (
        TaskMessage(
            task_id, TaskName.CREATE_CRM_ORDER, kwargs={"order_data": order}, options=options
        ),
        [_in_words(item) for item in agreed.items],
    )


def _in_words(item: Item) -> str:
    return f"{item.product_name}, {item.size}, {item.color}, {item.quantity} шт. по {item.price}"
