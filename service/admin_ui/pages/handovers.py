"""Take a conversation over, answer its customer, and hand it back, by forms of its page."""

from urllib.parse import quote

from mirt.errors import ErrorCode, PermanentError
from service.admin import handovers
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, Redirect, value


class HandoversPage(FormPage):
    """``/ops/handovers``: one act of a person on a conversation."""

    def act(self, form: Form, principal: Principal) -> Redirect:
        """Do it, and return to the page of the conversation."""
        session_id, act = value(form, "conversation"), value(form, "do")
        match act:
            case "take over":
                acted = handovers.take_over(self.runtime, session_id)
                said = f"{session_id} is yours. The bot is silent in it."
            case "say":
                acted = handovers.say(
                    self.runtime,
                    session_id,
                    value(form, "text"),
                    seen=_number(value(form, "seen")),
                    reply_id=value(form, "reply") or None,
                )
                said = "Your reply is on its way."
            case "hand back":
                acted = handovers.hand_back(self.runtime, session_id)
                said = f"The bot answers {session_id} again."
            case _:
                why = "do: must be take over, say or hand back"
                raise PermanentError(why, ErrorCode.INVALID_INPUT)
        self.page_context.log_action(principal, act, session_id=session_id, waiting=acted.waiting)
        return Redirect(said, f"/ops/trace?id={quote(session_id, safe='')}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
