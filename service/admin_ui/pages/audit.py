"""Show what operators did."""

from typing import Final

import falcon

from mirt.errors import ErrorCode, PermanentError
from service.admin.audit import latest
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import ReadPage, View

ON_A_PAGE: Final = 100


class AuditPage(ReadPage):
    """``/ops/audit``: who did what, when, on what, and with which outcome."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return one page of the acts, the latest first."""
        before = _number(req.get_param("before") or "")
        found = latest(self.runtime, limit=ON_A_PAGE + 1, before=before)
        shown = found[:ON_A_PAGE]
        older = f"/ops/audit?before={shown[-1].id}" if len(found) > ON_A_PAGE else None
        context = {"acts": shown, "first": "/ops/audit" if before else None, "older": older}
        return View("audit.html", context)


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise PermanentError("before: must be the id of an act", ErrorCode.INVALID_INPUT)
    return int(text)
