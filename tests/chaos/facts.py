"""The facts of a finished run: from the senders, from the outside services, from the rows.

Plain data, so that the verdict can be tried on facts that are made up.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from pika import BlockingConnection, URLParameters
from redis import Redis

from mirt.store.engine.database import Database
from tests.chaos.errands import Errands
from tests.chaos.load import Sent, names_in
from tests.chaos.stage import Stage
from tests.chaos.visits import HandedOver, Visits
from tests.everywhere import in_database, in_rabbitmq, in_redis

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
    handed_over: Sequence[HandedOver] = ()
    remembered: Sequence[str] = ()
    """The places in which a forgotten customer still is."""
    unfinished: Sequence[str] = ()
    """The chats in which an operator's command never succeeded."""


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


def remembered(stage: Stage, markers: Sequence[str]) -> list[str]:
    """Search every column of every table, Redis and RabbitMQ; the queues are empty afterwards."""
    database = Database(stage.deployed.environment["DATABASE_URL"], pool_size=1)
    redis = Redis.from_url(stage.deployed.environment["REDIS_URL"])
    rabbitmq = BlockingConnection(URLParameters(stage.deployed.environment["RABBITMQ_URL"]))
    with closing(database), closing(redis), closing(rabbitmq):
        return [
            *in_database(database, markers),
            *in_redis(redis, markers),
            *in_rabbitmq(rabbitmq.channel(), stage.queues(), markers),
        ]


def gather(stage: Stage, sent: Mapping[str, Sent], errands: Errands, visits: Visits) -> Facts:
    """Everything, once nothing moves any more."""
    forgotten = {str(one.chat) for one in visits.forgotten}
    stored = stage.rows(
        "SELECT i.text, extract(epoch FROM t.answered_at)"
        " FROM inbox i JOIN turns t ON t.id = i.turn_id"
    )
    deliveries = stage.rows("SELECT id, chat_id, text, state, unknown FROM deliveries")
    [(turns,)] = stage.rows("SELECT count(*) FROM turns")
    return Facts(
        sent={**sent, **visits.sent},
        # Of a forgotten customer no row says how often a text was sent.
        told=[one for one in told(stage) if one.chat not in forgotten],
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
        handed_over=visits.handed_over,
        remembered=remembered(stage, [word for one in visits.forgotten for word in one.markers]),
        unfinished=visits.unfinished,
    )
