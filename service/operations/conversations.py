"""Conversations, found by their name or by what is wrong with them."""

from mirt.runtime import Runtime
from mirt.store.reports.search import Conversation, Kind, Page, conversations_found


def found(
    world: Runtime,
    *,
    text: str = "",
    kind: Kind = Kind.ALL,
    after: Page | None = None,
    limit: int,
) -> list[Conversation]:
    """Those that are meant, the latest message first: one query.

    Raises:
        DatabaseError: it cannot be asked.
    """
    with world.database.transaction() as tx:
        return conversations_found(tx, text=text, kind=kind, after=after, limit=limit)
