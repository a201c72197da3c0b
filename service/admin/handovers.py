"""Take a conversation over, answer it and hand it back, as an operator who is named already."""

from collections.abc import Callable

from mirt.runtime import Runtime
from mirt.turns.handovers import Acted


def take_over(runtime: Runtime, session_id: str) -> Acted:
    """Give a conversation to the current operator; raises as ``Handovers.take_over``."""
    return _publish(lambda: runtime.handovers.take_over(session_id))


def say(
    runtime: Runtime,
    session_id: str,
    text: str,
    *,
    seen: int | None = None,
    reply_id: str | None = None,
) -> Acted:
    """Send a text of the current operator to the customer; raises as ``Handovers.say``."""
    return _publish(lambda: runtime.handovers.say(session_id, text, seen=seen, reply_id=reply_id))


def hand_back(runtime: Runtime, session_id: str) -> Acted:
    """Give a conversation back to the bot; raises as ``Handovers.hand_back``."""
    return _publish(lambda: runtime.handovers.hand_back(session_id))


def _publish(act: Callable[[], Acted]) -> Acted:
    # Imported here: showing a conversation needs no broker.
    from broker.task import registry

    acted = act()
    registry.broker.publish(acted.to_publish)
    return acted
