"""Every address of the page on one screen."""

from collections.abc import Iterator
from typing import Any

from mirt.runtime import Runtime
from service.admin_ui.auth.access import Access
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.auth.sessions import Sessions
from service.admin_ui.page import SHOWN_WITHIN_S, THREADS, PageContext
from service.admin_ui.pages.conversations import ConversationsPage
from service.admin_ui.pages.dead_letters import DeadLetters, Decide, Letter
from service.admin_ui.pages.login import Login, Logout
from service.admin_ui.pages.overview import Now
from service.admin_ui.pages.queues import Queues
from service.admin_ui.pages.schedule import SchedulePage
from service.admin_ui.pages.trace import TracePage
from service.admin_ui.static import Static
from service.admin_ui.templates import Templates
from service.web.bulkhead import Bulkhead
from service.web.login_throttle import LoginThrottle


def routes(runtime: Runtime, attempts: LoginThrottle) -> Iterator[tuple[str, Any]]:
    """Addresses, and what answers there. ``attempts`` are those at all doors."""
    tokens, static = Tokens(runtime.settings), Static()
    page_context = PageContext(
        runtime=runtime,
        tokens=tokens,
        access=Access(tokens, Sessions(tokens, runtime.clock), attempts),
        look=Templates(static),
        bulkhead=Bulkhead("ops", threads=THREADS, within_s=SHOWN_WITHIN_S),
    )
    yield "/ops", Now(page_context)
    yield "/ops/login", Login(page_context)
    yield "/ops/logout", Logout(page_context)
    yield "/ops/conversations", ConversationsPage(page_context)
    yield "/ops/trace", TracePage(page_context)
    yield "/ops/dead", DeadLetters(page_context)
    yield "/ops/dead/letter", Letter(page_context)
    yield "/ops/dead/decide", Decide(page_context)
    yield "/ops/queues", Queues(page_context)
    yield "/ops/schedule", SchedulePage(page_context)
    yield "/ops/static/{name}", static
