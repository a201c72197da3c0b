"""Pause and resume by the buttons of several pages."""

from urllib.parse import quote

from mirt.counting import counted
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.pauses import PauseKind, Subject
from service.admin import pauses
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, Redirect, value


class PausesPage(FormPage):
    """``/ops/pauses``: pauses or resumes a queue, a task, a channel or a conversation."""

    def act(self, form: Form, principal: Principal) -> Redirect:
        """Do it, and return to the page of the subject."""
        subject = pauses.read_subject(value(form, "kind"), value(form, "name"))
        match value(form, "do"):
            case "pause":
                is_new = pauses.pause(self.runtime, subject)
                said = f"{subject} is paused." if is_new else f"{subject} was paused already."
                self.page_context.log_action(principal, "paused", subject=str(subject))
            case "resume":
                count = pauses.resume(self.runtime, subject)
                tasks = counted(count or 0, "task")
                said = f"{subject} goes on; {tasks} waited."
                said = f"{subject} was not paused." if count is None else said
                self.page_context.log_action(
                    principal, "resumed", subject=str(subject), count=count
                )
            case _:
                raise PermanentError("do: must be pause or resume", ErrorCode.INVALID_INPUT)
        return Redirect(said, page_of(subject))


def page_of(subject: Subject) -> str:
    """Return the address of the page with the button of this subject."""
    if subject.kind is PauseKind.CONVERSATION:
        return f"/ops/trace?id={quote(subject.name, safe='')}"
    return "/ops/queues"
