"""Every address of the page on one screen."""

from collections.abc import Iterator
from typing import Any

from mirt.runtime import Runtime
from service.admin_ui.auth.access import Door
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.auth.sessions import Sessions
from service.admin_ui.page import SHOWN_WITHIN_S, THREADS, Desk
from service.admin_ui.pages.conversations import Conversations
from service.admin_ui.pages.dead_letters import DeadLetters, Decide, Letter
from service.admin_ui.pages.login import Login, Logout
from service.admin_ui.pages.overview import Now
from service.admin_ui.pages.queues import Queues
from service.admin_ui.pages.schedule import Schedule
from service.admin_ui.pages.trace import Trace
from service.admin_ui.static import Static
from service.admin_ui.templates import Look
from service.web.bulkhead import Bulkhead
from service.web.login_throttle import Attempts


def routes(runtime: Runtime, attempts: Attempts) -> Iterator[tuple[str, Any]]:
    """Addresses, and what answers there. ``attempts`` are those at all doors."""
    tokens, static = Tokens(runtime.settings), Static()
    desk = Desk(
        runtime=runtime,
        tokens=tokens,
        door=Door(tokens, Sessions(tokens, runtime.clock), attempts),
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
