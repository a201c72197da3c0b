"""The facts of a finished run: from the senders, from the outside services, from the rows.

Plain data, so that the verdict can be tried on facts that are made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.errands import Errands
from tests.chaos.load import Sent, names_in
from tests.chaos.stage import Stage

APOLOGY = ":apology"
"""How the id of an apology ends."""
ORDERS_DEAD = "SELECT o.external_id FROM orders o JOIN dead_letters d ON d.task_id = o.task_id"


@dataclass(frozen=True, slots=True)
class Told:
    """A text that has reached a customer."""

    at: float
    chat: str
    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer that the agent has given, whether or not it arrived."""

    asked_at: float
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A reply as the service has stored it: ``unknown`` sendings may have arrived, or not."""

    id: str
    chat: str
    text: str
    state: str
    unknown: int


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter, and the messages that its task should have answered."""

    task_id: str
    error_code: str
    attempts: int
    exception: str
    died_at: float
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it; times in seconds since the epoch, of one machine's clock."""

    sent: Mapping[str, Sent]
    told: Sequence[Told]
    completions: Sequence[Completion] = ()
    deliveries: Sequence[Delivery] = ()
    dead: Sequence[Dead] = ()
    stored: Mapping[str, float] = field(default_factory=dict)
    """When the answer to a message was stored."""
    turns: int = 0
    ordered: Sequence[str] = ()
    """The orders that the service has accepted."""
    created: Sequence[str] = ()
    """The orders in the CRM, by the same ids; one that was created twice is there twice."""
    orders_dead: Sequence[str] = ()
    """The orders whose task is a dead letter."""
    orders_unknown: Mapping[str, int] = field(default_factory=dict)
    """How many requests of an order have an unknown outcome."""
    followups: Sequence[str] = ()
    """The tasks of the follow-ups that the service has accepted."""


def told(stage: Stage, since: int = 0) -> list[Told]:
    """Return the texts that customers have got, from number ``since`` on, in order of arrival."""
    return [Told(*one) for one in stage.services.replies(since)]


def dead(stage: Stage) -> list[Dead]:
    """The dead letters; none while the database is away."""
    rows = stage.rows(
        "SELECT d.task_id, d.error_code, d.attempts, d.exception, extract(epoch FROM d.died_at),"
        " coalesce(string_agg(i.text, ' ' ORDER BY i.id), '') FROM dead_letters d"
        f" LEFT JOIN inbox i ON replace(d.task_id, '\\{APOLOGY}', '') IN (i.task_id, i.turn_id)"
        " GROUP BY d.id ORDER BY d.id"
    )
    return [
        Dead(task_id, code, attempts, exception, float(died_at), names_in(texts))
        for task_id, code, attempts, exception, died_at, texts in rows
    ]


def gather(stage: Stage, sent: Mapping[str, Sent], errands: Errands) -> Facts:
    """Everything, once nothing moves any more."""
    stored = stage.rows(
        "SELECT i.text, extract(epoch FROM t.answered_at)"
        " FROM inbox i JOIN turns t ON t.id = i.turn_id"
    )
    deliveries = stage.rows("SELECT id, chat_id, text, state, unknown FROM deliveries")
    [(turns,)] = stage.rows("SELECT count(*) FROM turns")
    return Facts(
        sent=sent,
        told=told(stage),
        completions=[Completion(at, names_in(text)) for at, text in stage.services.completions()],
        deliveries=[Delivery(*row) for row in deliveries],
        dead=dead(stage),
        stored={name: float(at) for text, at in stored for name in names_in(text)},
        turns=turns,
        ordered=errands.ordered,
        created=[one["external_id"] for one in stage.services.orders()],
        orders_dead=[name for (name,) in stage.rows(ORDERS_DEAD)],
        orders_unknown=dict(stage.rows("SELECT external_id, unknown FROM orders")),
        followups=errands.followups,
    )
