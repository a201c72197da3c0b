"""The schedule: when each task ran last and runs next, and running it now."""

import falcon

from service.admin.schedule import run_now, schedule
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Done, Form, FormPage, ReadPage, View, value


class SchedulePage(ReadPage, FormPage):
    """``/ops/schedule``."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """The schedule, the next first."""
        return View("schedule.html", {"scheduled": schedule(self.runtime)})

    def act(self, form: Form, principal: Principal) -> View | Done:
        """Have a task run once more."""
        task = value(form, "task")
        task_id = run_now(task)
        self.page_context.note(principal, "run now", count=1, task=task, task_id=task_id)
        return Done(f"{task} runs now, as {task_id}.", "/ops/schedule")
