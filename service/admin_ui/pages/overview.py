"""The first page: what is wrong, and what is going on."""

import falcon

from service.admin.findings import problems
from service.admin.queues import activity, hour
from service.admin.schedule import schedule
from service.admin_ui.auth.access import Principal
from service.admin_ui.charts import HEIGHT, STEP, plots
from service.admin_ui.page import ReadPage, View
from service.admin_ui.pages.login import Login


class Now(ReadPage):
    """``/ops``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it; or let somebody in who has the link that ``mirt up`` prints."""
        token = req.get_param("token")
        if token is not None and self.page_context.tokens:
            Login(self.page_context).enter_by_link(req, resp, token)
        else:
            super().on_get(req, resp)

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """What is wrong, the last hour, the queues, what runs, and the workers."""
        seen, minutes = activity(self.runtime), hour(self.runtime)
        context = {
            "seen": seen,
            "problems": problems(self.runtime, seen, schedule(self.runtime)),
            "minutes": [minute for minute in minutes if minute.answered or minute.failed],
            "plots": plots(minutes),
            "plot_height": HEIGHT,
            "bar_width": STEP - 2,
        }
        return View("now.html", context)
