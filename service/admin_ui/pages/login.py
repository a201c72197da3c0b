"""Log an operator in with a token, and out."""

import re
from typing import Final

import falcon

from mirt.settings import Mode
from service.admin_ui.auth.access import FORM_TOKEN, AccessDenied, Principal, check_origin
from service.admin_ui.page import Page, ReadPage, View, ask_to_log_in, too_many_attempts, value
from service.web.bodies import read_form
from service.web.login_throttle import TooManyAttempts

OPS_ADDRESS: Final = re.compile(r"/ops(?:[/?][!-\[\]-~]*)?")


class LoginPage(ReadPage):
    """``/ops/login``: exchanges a token for a session."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the form with a link to the page, for an operator who is logged in already."""
        return View(
            "login.html", {"why": None, "to": "/ops", "from_other_site": True}, is_live=False
        )

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start a session and redirect to the page that the operator wanted."""
        if not self.page_context.tokens:
            self.on_get(req, resp)
            return
        to = "/ops"
        try:
            check_origin(req)
            form = read_form(req)
            to = _safe_address(value(form, "to"))
            role = self.page_context.access.role_of(value(form, "token"), req)
            why = None if role else "This is not a token of this service."
        except TooManyAttempts as error:
            role, why = None, f"Not now: {error}."
            resp.set_header("Retry-After", str(error.retry_after))
        except AccessDenied as error:
            role, why = None, f"Refused: {error}."
        if role is None:
            self._render(req, resp, None, ask_to_log_in(req, why=why, to=to))
            return
        self.page_context.access.begin(role, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = to

    def enter_by_link(self, req: falcon.Request, resp: falcon.Response, token: str) -> None:
        """Start a session from the link of ``mirt up``, and drop the token from the address.

        Only in embedded mode: elsewhere a proxy would log the address with the token.
        """
        role = None
        if self.runtime.settings.mode is Mode.EMBEDDED:
            try:
                role = self.page_context.access.role_of(token, req)
            except TooManyAttempts as error:
                self._render(req, resp, None, too_many_attempts(resp, error))
                return
        if role is not None:
            self.page_context.access.begin(role, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops"


class LogoutPage(Page):
    """``/ops/logout``: ends the session in this browser."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Delete the cookies; readers may log out, too."""
        try:
            principal = self.page_context.access.principal(req)
        except TooManyAttempts as error:
            self._render(req, resp, None, too_many_attempts(resp, error))
            return
        if principal is not None and principal.session is not None:
            form = read_form(req)
            try:
                self.page_context.access.check_page(req, principal.session, value(form, FORM_TOKEN))
            except AccessDenied:
                resp.status, resp.location = falcon.HTTP_303, "/ops"
                return
            self.page_context.log_action(principal, "logged out")
        self.page_context.access.end(resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops/login"


def _safe_address(address: str) -> str:
    """Return the address if it is one of our pages, else ``/ops``: no open redirect."""
    return address if OPS_ADDRESS.fullmatch(address) else "/ops"
