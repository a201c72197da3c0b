"""Show the queues with the limits of their tasks, and purge one."""

import falcon

from middleware.policy import QUEUES, TASKS, tasks_of
from mirt.counting import counted
from service.admin import purge
from service.admin.pauses import paused
from service.admin.queues import activity
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value


class QueuesPage(ReadPage, FormPage):
    """``/ops/queues``: every queue, and a button to purge it."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return every queue, and the limits of its tasks."""
        context = {
            "activity": activity(self.runtime),
            "pauses": {str(one.subject): one for one in paused(self.runtime)},
            "channels": list(self.runtime.channels),
            "policies": QUEUES,
            "tasks": {queue: [TASKS[name] for name in tasks_of(queue)] for queue in QUEUES},
        }
        return View("queues.html", context)

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Return what a purge would remove, or purge if the form is confirmed."""
        queue = value(form, "queue")
        if value(form, "confirmed") != "yes":
            preview = purge.preview(self.runtime, queue)
            return View("purge.html", {"preview": preview}, is_live=False)
        count = purge.purge(self.runtime, queue)
        self.page_context.log_action(principal, "purged", count=count, queue=queue)
        tasks = counted(count, "task was", "tasks were")
        return Redirect(f"{queue}: {tasks} removed, each is a dead letter (PURGED).", "/ops/queues")
