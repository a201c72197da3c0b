"""Every address of the page on one screen."""

from collections.abc import Iterator
from typing import Any

from mirt.runtime import Runtime
from service.attempts import Attempts
from service.bulkhead import Bulkhead
from service.ops.conversations import Conversations
from service.ops.dead import DeadLetters, Decide, Letter
from service.ops.door import Door
from service.ops.login import Login, Logout
from service.ops.look import Look
from service.ops.now import Now
from service.ops.page import SHOWN_WITHIN_S, THREADS, Desk
from service.ops.queues import Queues
from service.ops.roles import Tokens
from service.ops.schedule import Schedule
from service.ops.sessions import Sessions
from service.ops.static import Static
from service.ops.trace import Trace


def routes(world: Runtime, attempts: Attempts) -> Iterator[tuple[str, Any]]:
    """Addresses, and what answers there. ``attempts`` are those at all doors."""
    tokens, static = Tokens(world.settings), Static()
    desk = Desk(
        world=world,
        tokens=tokens,
        door=Door(tokens, Sessions(tokens, world.clock), attempts),
        look=Look(static),
        bulkhead=Bulkhead("ops", threads=THREADS, within_s=SHOWN_WITHIN_S),
    )
    yield "/ops", Now(desk)
    yield "/ops/login", Login(desk)
    yield "/ops/logout", Logout(desk)
    yield "/ops/conversations", Conversations(desk)
    yield "/ops/trace", Trace(desk)
    yield "/ops/dead", DeadLetters(desk)
    yield "/ops/dead/letter", Letter(desk)
    yield "/ops/dead/decide", Decide(desk)
    yield "/ops/queues", Queues(desk)
    yield "/ops/schedule", Schedule(desk)
    yield "/ops/static/{name}", static
