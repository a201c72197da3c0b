"""Take a conversation over, answer it and hand it back; list those that people have."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mirt.store.reports.handovers import OpenHandover, Talk, open_handovers, talk_of
from service.admin.context import AdminContext

if TYPE_CHECKING:
    from mirt.runtime import Runtime
    from mirt.turns.handovers import Acted


def take_over(runtime: "Runtime", session_id: str) -> "Acted":
    """Give a conversation to the current operator; raises as ``Handovers.take_over``."""
    return _publish(lambda: runtime.handovers.take_over(session_id))


def say(
    runtime: "Runtime",
    session_id: str,
    text: str,
    *,
    seen: int | None = None,
    reply_id: str | None = None,
) -> "Acted":
    """Send a text of the current operator to the customer; raises as ``Handovers.say``."""
    return _publish(lambda: runtime.handovers.say(session_id, text, seen=seen, reply_id=reply_id))


def hand_back(runtime: "Runtime", session_id: str) -> "Acted":
    """Give a conversation back to the bot; raises as ``Handovers.hand_back``."""
    return _publish(lambda: runtime.handovers.hand_back(session_id))


def _publish(act: "Callable[[], Acted]") -> "Acted":
    # Imported here: showing a conversation needs no broker.
    from broker.task import registry

    acted = act()
    registry.broker.publish(acted.to_publish)
    return acted


MOST_SHOWN: Final = 50
LINES: Final = 12
"""Lines of a conversation that its person sees."""


def listed(context: AdminContext) -> list[OpenHandover]:
    """Return the conversations that people have or are asked for, the oldest handover first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return open_handovers(tx, limit=MOST_SHOWN)


def talk(context: AdminContext, session_id: str) -> Talk:
    """Return what was said last in a conversation, and the mail that no one has answered.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return talk_of(tx, session_id, lines=LINES)
