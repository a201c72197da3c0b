"""List every route of the page."""

from collections.abc import Iterator
from typing import Any

from mirt.runtime import Runtime
from service.admin_ui.auth.access import Access
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.auth.sessions import Sessions
from service.admin_ui.page import PAGE_TIMEOUT_S, THREADS, PageContext
from service.admin_ui.pages.audit import AuditPage
from service.admin_ui.pages.conversations import ConversationsPage
from service.admin_ui.pages.dead_letters import (
    DeadLetterPage,
    DeadLettersPage,
    DecisionPage,
    EditPage,
)
from service.admin_ui.pages.forget import ForgetPage
from service.admin_ui.pages.handovers import HandoversPage
from service.admin_ui.pages.login import LoginPage, LogoutPage
from service.admin_ui.pages.orders import OrdersPage
from service.admin_ui.pages.overview import OverviewPage
from service.admin_ui.pages.pauses import PausesPage
from service.admin_ui.pages.queues import QueuesPage
from service.admin_ui.pages.schedule import SchedulePage
from service.admin_ui.pages.tasks import TasksPage
from service.admin_ui.pages.today import TodayPage
from service.admin_ui.pages.trace import TracePage
from service.admin_ui.static import StaticFiles
from service.admin_ui.templates import Templates
from service.web.bulkhead import Bulkhead
from service.web.clients import Clients
from service.web.login_throttle import LoginThrottle


def routes(
    runtime: Runtime, login_throttle: LoginThrottle, clients: Clients
) -> Iterator[tuple[str, Any]]:
    """Yield each address with its resource; ``login_throttle`` is shared with ``/tasks/…``."""
    tokens, static = Tokens(runtime.settings), StaticFiles()
    sessions = Sessions(tokens, runtime.clock, session_key=runtime.settings.session_key)
    page_context = PageContext(
        runtime=runtime,
        tokens=tokens,
        access=Access(tokens, sessions, login_throttle, clients),
        templates=Templates(static),
        bulkhead=Bulkhead("ops", threads=THREADS, within_s=PAGE_TIMEOUT_S),
    )
    yield "/ops", OverviewPage(page_context)
    yield "/ops/login", LoginPage(page_context)
    yield "/ops/logout", LogoutPage(page_context)
    yield "/ops/conversations", ConversationsPage(page_context)
    yield "/ops/trace", TracePage(page_context)
    yield "/ops/handovers", HandoversPage(page_context)
    yield "/ops/dead", DeadLettersPage(page_context)
    yield "/ops/dead/letter", DeadLetterPage(page_context)
    yield "/ops/dead/decide", DecisionPage(page_context)
    yield "/ops/dead/edit", EditPage(page_context)
    yield "/ops/forget", ForgetPage(page_context)
    yield "/ops/orders", OrdersPage(page_context)
    yield "/ops/queues", QueuesPage(page_context)
    yield "/ops/today", TodayPage(page_context)
    yield "/ops/tasks", TasksPage(page_context)
    yield "/ops/pauses", PausesPage(page_context)
    yield "/ops/schedule", SchedulePage(page_context)
    yield "/ops/audit", AuditPage(page_context)
    yield "/ops/static/{name}", static
