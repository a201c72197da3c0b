"""The schedule: when each task ran last and runs next, and running it now."""

import falcon

from service.admin.schedule import run_now, schedule
from service.admin_ui.auth.access import Visitor
from service.admin_ui.page import Acting, Done, Form, Shown, View, value


class Schedule(Shown, Acting):
    """``/ops/schedule``."""

    def show(self, req: falcon.Request, visitor: Visitor) -> View:
        """The schedule, the next first."""
        return View("schedule.html", {"scheduled": schedule(self.runtime)})

    def act(self, form: Form, visitor: Visitor) -> View | Done:
        """Have a task run once more."""
        task = value(form, "task")
        task_id = run_now(task)
        self.desk.note(visitor, "run now", count=1, task=task, task_id=task_id)
        return Done(f"{task} runs now, as {task_id}.", "/ops/schedule")
