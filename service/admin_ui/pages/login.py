"""Log an operator in with a token, and out."""

import re
from typing import Final

import falcon
import structlog

from mirt.errors import RetryableError
from mirt.operators import Door, Operator, acting_as
from mirt.settings import Mode
from service.admin import sessions
from service.admin_ui.auth.access import FORM_TOKEN, AccessDenied, Principal
from service.admin_ui.auth.roles import Credential
from service.admin_ui.auth.sessions import SESSION_TTL_S
from service.admin_ui.page import Page, ReadPage, View, ask_to_log_in, too_many_attempts, value
from service.web.bodies import read_form
from service.web.login_throttle import TooManyAttempts

log = structlog.get_logger(__name__)

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
        access, to = self.page_context.access, "/ops"
        try:
            access.admit(req)
            access.check_origin(req)
            form = read_form(req)
            to = _safe_address(value(form, "to"))
            known = access.credential_of(value(form, "token"), req)
            why = None if known else "This is not a token of this service."
        except TooManyAttempts as error:
            self._render(req, resp, None, too_many_attempts(resp, error))
            return
        except AccessDenied as error:
            known, why = None, f"Refused: {error}."
        if known is None:
            self._render(req, resp, None, ask_to_log_in(req, why=why, to=to))
            return
        self._begin(known, req, resp)
        resp.location = to

    def enter_by_link(self, req: falcon.Request, resp: falcon.Response, token: str) -> None:
        """Start a session from the link of ``mirt up``, and drop the token from the address.

        Only in embedded mode: elsewhere a proxy would log the address with the token. A link on
        the page of another site opens nothing, and is no attempt of the operator.
        """
        known = None
        is_ours = req.get_header("Sec-Fetch-Site") != "cross-site"
        if self.runtime.settings.mode is Mode.EMBEDDED and is_ours:
            try:
                known = self.page_context.access.credential_of(token, req)
            except TooManyAttempts as error:
                self._render(req, resp, None, too_many_attempts(resp, error))
                return
        if known is not None:
            self._begin(known, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops"

    def _begin(self, known: Credential, req: falcon.Request, resp: falcon.Response) -> None:
        self.page_context.access.begin(known, req, resp)
        self._audit(Operator(known.name, Door.PAGE), "log in")
        resp.status = falcon.HTTP_303


class LogoutPage(Page):
    """``/ops/logout``: ends the session, in this browser and wherever its cookie was copied to."""

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
            try:
                with acting_as(principal.operator):
                    sessions.end(self.runtime, principal.session.id, lasts_s=SESSION_TTL_S)
            except RetryableError as error:
                # The cookie goes all the same: this browser has no session any more.
                log.warning("logout_not_stored", name=principal.name, why=error.message)
        self.page_context.access.end(req, resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops/login"


def _safe_address(address: str) -> str:
    """Return the address if it is one of our pages, else ``/ops``: no open redirect."""
    return address if OPS_ADDRESS.fullmatch(address) else "/ops"
