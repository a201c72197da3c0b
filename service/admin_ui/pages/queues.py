"""The queues, with what is allowed on them, and emptying one."""

import falcon

from middleware.policy import QUEUES, TASKS, tasks_of
from service.admin import purge
from service.admin.queues import activity
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Done, Form, FormPage, ReadPage, View, value


class Queues(ReadPage, FormPage):
    """``/ops/queues``."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Every queue, and the tasks that run on it."""
        context = {
            "seen": activity(self.runtime),
            "policies": QUEUES,
            "tasks": {queue: [TASKS[name] for name in tasks_of(queue)] for queue in QUEUES},
        }
        return View("queues.html", context)

    def act(self, form: Form, principal: Principal) -> View | Done:
        """Say what a purge would remove; do it when that is confirmed."""
        queue = value(form, "queue")
        if value(form, "confirmed") != "yes":
            would = purge.preview(self.runtime, queue)
            return View("purge.html", {"would": would}, is_live=False)
        count = purge.purge(self.runtime, queue)
        self.page_context.note(principal, "purged", count=count, queue=queue)
        tasks = "1 task was" if count == 1 else f"{count:,} tasks were"
        return Done(f"{queue}: {tasks} removed, each is a dead letter (PURGED).", "/ops/queues")
