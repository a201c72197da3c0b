"""Record and read the audit: who did what, when, on what, and with which outcome.

To audit a new act, call ``record_act`` in the transaction that changes something:

    with database.transaction() as tx:
        pause(tx, "queue", name, now=now)
        record_act(tx, "pause", target=f"queue {name}", now=now)

The operator is known already (``mirt.operators``): the page and every changing command name them.
An act without a transaction of its own, as one of an outside service, is recorded by
``service.admin.audit.record``.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, insert, select, update

from mirt.operators import current_operator
from mirt.store.tables import audit

FORGOTTEN: Final = "a forgotten customer"
LONGEST_TARGET: Final = 500
"""Characters of a target that are kept."""


class Outcome(StrEnum):
    """The outcomes of an act."""

    DONE = "done"
    REFUSED = "refused"
    """The operator may not do this."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an operator. ``count`` is the number of things that it changed."""

    id: int
    at: datetime
    operator: str
    door: str
    act: str
    target: str | None
    session_id: str | None
    count: int | None
    outcome: Outcome


def record_act(
    tx: Connection,
    act: str,
    *,
    now: datetime,
    target: str | None = None,
    session_id: str | None = None,
    count: int | None = None,
    outcome: Outcome = Outcome.DONE,
) -> int:
    """Record an act of the current operator, in the transaction of the act; return its id.

    ``act`` is the verb of the command or button (``purge``, ``takeover``). ``target`` says in words
    what it changed, without a customer's name or texts: an operator reads it. An act on one
    conversation also names its ``session_id``, so that the conversation can be forgotten.
    """
    operator = current_operator()
    row = {
        "at": now,
        "operator": operator.name,
        "door": operator.door,
        "act": act,
        "target": None if target is None else target[:LONGEST_TARGET],
        "session_id": session_id,
        "count": count,
        "outcome": outcome,
    }
    act_id: int = tx.execute(insert(audit).values(row).returning(audit.c.id)).scalar_one()
    return act_id


def count_more(tx: Connection, act_id: int, more: int) -> None:
    """Add to the count of an act that is done in several transactions."""
    tx.execute(update(audit).where(audit.c.id == act_id).values(count=audit.c.count + more))


def acts(tx: Connection, *, limit: int, before: int | None = None) -> list[Act]:
    """Return the latest acts, the latest first; with ``before`` those older than that id."""
    query = select(*(audit.c[name] for name in Act.__slots__))
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = tx.execute(query.order_by(audit.c.id.desc()).limit(limit))
    return [Act(**{**row._mapping, "outcome": Outcome(row.outcome)}) for row in rows]


def forget_in_audit(tx: Connection, session_id: str) -> int:
    """Take a conversation out of the audit; the acts on it stay. Return their number."""
    mine = audit.c.session_id == session_id
    return tx.execute(update(audit).where(mine).values(session_id=None, target=FORGOTTEN)).rowcount
