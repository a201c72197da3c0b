"""List conversations, with a search, kinds and pages."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import falcon

from mirt.clock import format_duration
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.pauses import paused_subject
from mirt.store.queue.tasks import TaskState
from mirt.store.reports.search import Conversation, Cursor, Kind
from mirt.store.shop.handovers import HandoverState
from service.admin.conversations import find
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import ReadPage, View

ON_A_PAGE: Final = 50
LONGEST_SEARCH: Final = 200
KINDS: Final = (
    (Kind.ALL, "All"),
    (Kind.WAITING, "Waiting"),
    (Kind.HANDED_OVER, "With a person"),
    (Kind.FAILED, "Dead letter"),
    (Kind.UNKNOWN, "Unknown outcome"),
)


class ConversationsPage(ReadPage):
    """``/ops/conversations``: the list."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the conversations that match, the latest message first."""
        text = (req.get_param("q") or "").strip()
        if len(text) > LONGEST_SEARCH or "\0" in text:
            raise _invalid(f"q: at most {LONGEST_SEARCH} characters can be searched for")
        kind = _kind(req.get_param("kind") or Kind.ALL)
        after = _cursor(req.get_param("after") or "")
        rows = find(self.runtime, text=text, kind=kind, after=after, limit=ON_A_PAGE + 1)
        shown, query = rows[:ON_A_PAGE], {"q": text, "kind": kind.value}
        context = {
            "kinds": [(name, label, _address({**query, "kind": name})) for name, label in KINDS],
            "kind": kind,
            "q": text,
            "rows": [(row, state_of(row, self.runtime.clock())) for row in shown],
            "first": _address(query) if after else None,
            "older": _address({**query, "after": _after(shown[-1])})
            if len(rows) > len(shown)
            else None,
        }
        return View("conversations.html", context)


def state_of(conversation: Conversation, now: datetime) -> tuple[str, str]:
    """Return the state of a conversation in words, and its CSS class: quiet, busy or waits."""
    more = f" ({conversation.waiting} messages)" if conversation.waiting > 1 else ""
    if conversation.handover_state == HandoverState.ASKED:
        return f"asks for a person{more}", "waits"
    if conversation.handover_state == HandoverState.PERSON:
        waits = f", {conversation.waiting} unanswered" if conversation.waiting else ""
        return f"{conversation.handover_by} answers{waits}", "waits" if waits else "busy"
    if conversation.state == TaskState.RUNNING and conversation.started_at:
        running = format_duration((now - conversation.started_at).total_seconds())
        attempt = f", attempt {conversation.attempt + 1}" if conversation.attempt else ""
        return f"is being answered for {running}{attempt}{more}", "busy"
    if conversation.state == TaskState.DELAYED and conversation.held_by:
        subject = paused_subject(conversation.held_by)
        why = f"waits for {conversation.held_by}, which is down"
        return f"{f'{subject} is paused' if subject else why}{more}", "waits"
    if conversation.state == TaskState.DELAYED and conversation.due_at:
        pause = format_duration((conversation.due_at - now).total_seconds())
        return f"tries again in {pause}, attempt {(conversation.attempt or 0) + 1}{more}", "waits"
    if conversation.state == TaskState.QUEUED:
        return f"waits for a free worker{more}", "waits"
    if conversation.head_task_id or conversation.waiting:
        return f"waits{more}", "waits"
    if conversation.unreachable_since is not None:
        return "unreachable: the customer has blocked us", "quiet"
    return "quiet", "quiet"


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise _invalid(f"kind: must be one of {', '.join(Kind)}") from None


def _cursor(after: str) -> Cursor | None:
    if not after:
        return None
    at, _, session_id = after.partition("~")
    try:
        written = datetime.fromisoformat(at)
        when = written.astimezone(UTC) if written.tzinfo else None
    except (ValueError, OverflowError):
        when = None
    if when is None or not session_id or "\0" in session_id:
        raise _invalid("after: must be the end of a page, as the page itself writes it")
    return when, session_id


def _after(last: Conversation) -> str:
    return f"{last.last_customer_at.isoformat()}~{last.session_id}"


def _address(query: dict[str, str]) -> str:
    given = {name: text for name, text in query.items() if text and text != Kind.ALL}
    return f"/ops/conversations?{urlencode(given)}" if given else "/ops/conversations"


def _invalid(why: str) -> PermanentError:
    return PermanentError(why, ErrorCode.INVALID_INPUT)
