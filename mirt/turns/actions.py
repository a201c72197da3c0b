"""Turn the actions that the agent asks for into tasks, after validation.

The agent asks in a structured call, never in free text. An incomplete order creates no task: the
reply then asks the customer for the missing fields and replaces the agent's text.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirt.llm import Action, Tool
from mirt.observe import traces
from mirt.orders import AGREED_SCHEMA, OrderProblems, read_agreed_order
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import KeptMail
from mirt.task_names import TaskName
from mirt.texts import Texts


class _Marks(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    fields: dict[str, str] = Field(default_factory=dict)
    add_tags: list[str] = Field(default_factory=list)
    remove_tags: list[str] = Field(default_factory=list)


ORDER: Final = Tool(
    "create_order",
    "Створи замовлення. Лише після того, як покупець підтвердив його повністю, і лише раз.",
    AGREED_SCHEMA,
)
MARKS: Final = Tool(
    "remember_customer",
    "Запам'ятай покупця для колег: поля (назва і значення) та позначки.",
    _Marks.model_json_schema(),
)
TOOLS: Final = (ORDER, MARKS)


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of the agent's answer: the text for the customer, and the tasks to create.

    ``record`` has an entry for each action: its task id, or its wrong fields.
    """

    text: str
    tasks: Sequence[TaskMessage] = ()
    record: Sequence[Mapping[str, Any]] = field(default_factory=list)


def plan(text: str, actions: Iterable[Action], mail: KeptMail, texts: Texts) -> Plan:
    """Make tasks of the actions of a turn. Their ids derive from the turn's, so they exist once."""
    tasks: list[TaskMessage] = []
    record: list[dict[str, Any]] = []
    for number, action in enumerate(actions):
        entry = {"action": action.name}
        try:
            task = _task(action, mail, f"{mail.task_id}:{number}")
        except OrderProblems as wrong:
            record.append({**entry, "wrong": wrong.fields})
            text = texts.missing_from_order(wrong.fields)
        except ValidationError:
            record.append({**entry, "wrong": ["arguments"]})
        else:
            tasks.append(task)
            record.append({**entry, "task_id": task.task_id})
    if not text:
        ordered = any(task.actor == TaskName.CREATE_CRM_ORDER for task in tasks)
        text = texts.order_taken if ordered else texts.understood
    return Plan(text, tasks, record)


def _task(action: Action, mail: KeptMail, task_id: str) -> TaskMessage:
    options = {
        "trace_id": mail.trace_id,
        "session_id": mail.session_id,
        **traces.context_of(mail.trace_id),
    }
    if action.name == MARKS.name:
        marks = _Marks.model_validate(dict(action.arguments)).model_dump()
        customer = {"platform": mail.platform, "chat_id": mail.chat_id or mail.session_id}
        return TaskMessage(
            task_id, TaskName.MARK_CUSTOMER, kwargs={**customer, **marks}, options=options
        )
    agreed = read_agreed_order(dict(action.arguments)).model_dump(mode="json")
    order = {
        **agreed,
        "external_id": _external_id(agreed, mail),
        "source": mail.platform,
        "source_id": mail.session_id,
    }
    return TaskMessage(
        task_id, TaskName.CREATE_CRM_ORDER, kwargs={"order_data": order}, options=options
    )


def _external_id(agreed: Mapping[str, Any], mail: KeptMail) -> str:
    """Return an id that is the same for the same order of the same customer on the same day.

    So an agent that confirms an order again, on the customer's "thank you", creates no second one.
    """
    day = f"{mail.received_at:%Y%m%d}"
    identity = json.dumps([mail.platform, mail.session_id, agreed], sort_keys=True)
    return f"mirt-{day}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
