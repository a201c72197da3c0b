"""Show the first page: problems, the last hour, queues, running tasks and workers."""

import falcon

from service.admin.findings import findings
from service.admin.handovers import listed
from service.admin.queues import activity, hour
from service.admin.schedule import schedule
from service.admin_ui.auth.access import Principal
from service.admin_ui.charts import HEIGHT, STEP, plots
from service.admin_ui.page import ReadPage, View
from service.admin_ui.pages.login import LoginPage
from service.admin_ui.zone import zone_of


class OverviewPage(ReadPage):
    """``/ops``: the state of the service at this moment."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the page, or log in by the link that ``mirt up`` prints."""
        token = req.get_param("token")
        if token is not None and self.page_context.tokens:
            LoginPage(self.page_context).enter_by_link(req, resp, token)
        else:
            super().on_get(req, resp)

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return problems, the last hour, queues, running tasks and workers."""
        now = activity(self.runtime)
        context = {
            "activity": now,
            "problems": findings(self.runtime, now, schedule(self.runtime)),
            "handovers": listed(self.runtime),
            "plots": plots(hour(self.runtime), zone_of(req)),
            "plot_height": HEIGHT,
            "bar_width": STEP - 2,
        }
        return View("now.html", context)
