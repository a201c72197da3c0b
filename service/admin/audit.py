"""Record acts that have no transaction of their own, and list what operators did."""

from collections.abc import Sequence

from mirt.store.queue import audit as store
from mirt.store.queue.audit import Act, Outcome
from service.admin.context import AdminContext


def record(
    context: AdminContext,
    act: str,
    *,
    target: str | None = None,
    session_id: str | None = None,
    count: int | None = None,
    outcome: Outcome = Outcome.DONE,
) -> None:
    """Record an act of the current operator by itself (``mirt.store.queue.audit.record_act``).

    Raises:
        DatabaseError: the act could not be recorded.
    """
    with context.database.transaction() as tx:
        store.record_act(
            tx,
            act,
            now=context.clock(),
            target=target,
            session_id=session_id,
            count=count,
            outcome=outcome,
        )


def record_texts_shown(
    context: AdminContext, target: str | None, *, session_id: str | None = None
) -> None:
    """Record that the operator reads the words of a customer; call it before they are shown.

    Raises:
        DatabaseError: the act could not be recorded: show no text.
    """
    record(context, "show texts", target=target, session_id=session_id)


def latest(context: AdminContext, *, limit: int, before: int | None = None) -> Sequence[Act]:
    """Return the latest acts, the latest first; with ``before`` those older than that id.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return store.acts(tx, limit=limit, before=before)
