"""Show the schedule, and run one of its tasks now."""

import falcon

from service.admin import audit
from service.admin.schedule import run_now, schedule
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value


class SchedulePage(ReadPage, FormPage):
    """``/ops/schedule``: the last and next tick of each task."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the schedule, the next tick first."""
        return View("schedule.html", {"scheduled": schedule(self.runtime)})

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Run a task once more, now."""
        task = value(form, "task")
        task_id = run_now(task)
        audit.record(self.runtime, "run now", target=task)
        self.page_context.log_action(principal, "run now", count=1, task=task, task_id=task_id)
        return Redirect(f"{task} runs now; its task id is {task_id}.", "/ops/schedule")
