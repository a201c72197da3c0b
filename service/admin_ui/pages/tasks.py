"""Cancel a task, or start a delayed one, by the buttons of a timeline and of the first page."""

from typing import Final
from urllib.parse import quote

from middleware.cancelling import Cancelled
from mirt.errors import ErrorCode, PermanentError
from service.admin import tasks
from service.admin.tasks import Hurried
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, Redirect, View, value

SAID: Final = {
    Cancelled.CANCELLED: "The task is cancelled.",
    Cancelled.ASKED: "The task runs; its worker stops it within seconds.",
    Cancelled.OVER: "The task was over already; nothing was cancelled.",
    Cancelled.UNKNOWN: "There is no such task.",
    Hurried.DUE: "The task runs as soon as a worker is free.",
    Hurried.PAUSED: "The task is paused: resume it first.",
    Hurried.NOT_DELAYED: "The task is not delayed: it runs, waits for a worker, or is over.",
    Hurried.UNKNOWN: "There is no such task.",
}


class TasksPage(FormPage):
    """``/ops/tasks``: cancels a task after a question, or starts a delayed one."""

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Ask or do it, and return to the timeline of the task."""
        action, task_id = value(form, "do"), value(form, "id")
        if not task_id or "\0" in task_id:
            raise PermanentError("id: name a task", ErrorCode.INVALID_INPUT)
        back = f"/ops/trace?id={quote(task_id, safe='')}"
        result: Cancelled | Hurried
        if action == "cancel" and value(form, "confirmed") != "yes":
            return View("cancel.html", {"task_id": task_id, "back": back}, is_live=False)
        if action == "cancel":
            result = tasks.cancel(self.runtime, task_id)
        elif action == "retry":
            result = tasks.retry_now(self.runtime, task_id)
        else:
            raise PermanentError("do: must be cancel or retry", ErrorCode.INVALID_INPUT)
        self.page_context.log_action(principal, action, task_id=task_id, result=result.value)
        is_unknown = result in (Cancelled.UNKNOWN, Hurried.UNKNOWN)
        return Redirect(SAID[result], "/ops" if is_unknown else back)
