"""Show how a day of the shop went."""

from datetime import timedelta

import falcon

from service.admin.today import day_of, read_day
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import ReadPage, View


class TodayPage(ReadPage):
    """``/ops/today?day=2026-03-01``: the figures of a day in the shop's time zone."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the figures of the day, today by default."""
        settings = self.runtime.settings
        today = read_day("", self.runtime, settings)
        day = read_day((req.get_param("day") or "").strip(), self.runtime, settings)
        context = {
            "figures": day_of(self.runtime, settings, day),
            "slo_s": settings.reply_slo_seconds,
            "slo_share": settings.reply_slo_share,
            "today": today,
            "before": day - timedelta(days=1),
            "after": day + timedelta(days=1) if day < today else None,
        }
        return View("today.html", context)
