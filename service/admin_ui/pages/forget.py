"""Erase all that is stored about one customer, after the counts were shown."""

from urllib.parse import quote

import falcon

from mirt.errors import ErrorCode, PermanentError
from service.admin import personal_data
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value


class ForgetPage(ReadPage, FormPage):
    """``/ops/forget?id=…``: what is stored about the customer of a conversation, and its end."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return how many rows of each table are about the customer."""
        return self._ask((req.get_param("id") or "").strip())

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Return the question, or erase if the form is confirmed."""
        name = value(form, "id")
        if value(form, "confirmed") != "yes":
            return self._ask(name)
        done = personal_data.forget(self.runtime, self.runtime.settings, name)
        self.page_context.log_action(principal, "forgotten", count=done.total)
        missed = f" Not reached: {'; '.join(done.unreachable)}." if done.unreachable else ""
        return Redirect(f"{done.total:,} rows erased or emptied.{missed}", "/ops/conversations")

    def _ask(self, name: str) -> View:
        if not name or "\0" in name:
            raise PermanentError("id: name a conversation", ErrorCode.INVALID_INPUT)
        found = personal_data.count(self.runtime, name)
        if not found:
            return View("unknown.html", {"name": name}, status=falcon.HTTP_404)
        context = {
            "name": name,
            "found": found,
            "total": sum(found.values()),
            "back": f"/ops/trace?id={quote(name, safe='')}",
        }
        return View("forget.html", context, is_live=False)
