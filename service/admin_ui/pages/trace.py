"""Show a conversation, or one trace of it, as a timeline."""

import secrets
from typing import Final
from urllib.parse import quote

import falcon

from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.pauses import Pause, PauseKind, Subject
from mirt.store.reports.handovers import Talk
from mirt.store.reports.search import Conversation
from mirt.store.shop.handovers import HandoverState
from mirt.timeline import Step, What
from service.admin import audit
from service.admin.handovers import talk
from service.admin.pauses import paused
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import ReadPage, View

LABELS: Final = {
    What.WROTE: "message",
    What.BEGAN: "task",
    What.DONE: "task",
    What.ANSWERED: "agent",
    What.DELIVERED: "reply",
    What.REFUSED: "reply",
    What.UNREACHABLE: "reply",
    What.WITHHELD: "reply",
    What.SAID: "person",
    What.UNKNOWN: "unknown",
    What.DIED: "failed",
}


class TracePage(ReadPage):
    """``/ops/trace?id=…``: the id of a conversation, a trace, a task or a message."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return what the conversation waits for now, and what happened before."""
        name = (req.get_param("id") or "").strip()
        if not name or "\0" in name:
            raise PermanentError("id: name a conversation, trace or task", ErrorCode.INVALID_INPUT)
        timeline = self.runtime.timelines.of(name)
        if timeline is None:
            return View("unknown.html", {"name": name}, status=falcon.HTTP_404)
        texts = req.get_param("texts") == "1"
        if texts:
            session_id = timeline.subject.session_id
            audit.record_texts_shown(self.runtime, name, session_id=session_id)
            self.page_context.log_action(principal, "texts shown", of=name)
        address = f"/ops/trace?id={quote(name, safe='')}"
        context = {
            "name": name,
            "timeline": timeline,
            "conversation": timeline.conversation,
            "pause": self._pause_of(timeline.conversation),
            "talk": self._talk_of(timeline.conversation, principal),
            "reply_id": secrets.token_urlsafe(12),
            "waits": [step for step in timeline.steps if step.what is What.NOW],
            "steps": [step for step in timeline.steps if step.what is not What.NOW],
            "label": label,
            "texts": texts,
            "without_texts": address,
            "with_texts": f"{address}&texts=1",
        }
        # Each showing of texts is logged, so the page does not refresh itself.
        return View("trace.html", context, is_live=not texts)

    def _talk_of(self, conversation: Conversation | None, principal: Principal) -> Talk | None:
        """Return what a person has to know to answer; only for one who may, while one has it."""
        if conversation is None or conversation.handover_state != HandoverState.PERSON:
            return None
        return talk(self.runtime, conversation.session_id) if principal.may_act else None

    def _pause_of(self, conversation: Conversation | None) -> Pause | None:
        if conversation is None:
            return None
        subject = Subject(PauseKind.CONVERSATION, conversation.session_id)
        return next((one for one in paused(self.runtime) if one.subject == subject), None)


def label(step: Step) -> str:
    """Return the subject of a step in one word."""
    return LABELS.get(step.what, step.what.value)
