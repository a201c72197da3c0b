"""Coming in with a token, and going."""

import re
from typing import Final

import falcon

from mirt.settings import Mode
from service.admin_ui.auth.access import FORM_TOKEN, Principal, Refused, check_origin
from service.admin_ui.page import Page, ReadPage, View, ask_to_log_in, not_now, value
from service.web.bodies import read_form
from service.web.login_throttle import TooManyAttempts

OUR_ADDRESS: Final = re.compile(r"/ops(?:[/?][!-\[\]-~]*)?")


class Login(ReadPage):
    """Takes a token, and gives a session for it."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Somebody who is in has nothing to do here but to go on."""
        return View("login.html", {"why": None, "to": "/ops", "crossed": True}, is_live=False)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin a session, and go on to where one wanted to go."""
        if not self.page_context.tokens:
            self.on_get(req, resp)
            return
        to = "/ops"
        try:
            check_origin(req)
            form = read_form(req)
            to = _ours(value(form, "to"))
            role = self.page_context.access.role_of(value(form, "token"), req)
            why = None if role else "This is not a token of this service."
        except TooManyAttempts as wait:
            role, why = None, f"Not now: {wait}."
            resp.set_header("Retry-After", str(wait.retry_after))
        except Refused as refused:
            role, why = None, f"Refused: {refused}."
        if role is None:
            self._render(req, resp, None, ask_to_log_in(req, why=why, to=to))
            return
        self.page_context.access.begin(role, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = to

    def enter_by_link(self, req: falcon.Request, resp: falcon.Response, token: str) -> None:
        """Begin a session by the link that ``mirt up`` prints; the address forgets the token.

        Only there: elsewhere a proxy would have written the address into its log.
        """
        role = None
        if self.runtime.settings.mode is Mode.EMBEDDED:
            try:
                role = self.page_context.access.role_of(token, req)
            except TooManyAttempts as wait:
                self._render(req, resp, None, not_now(resp, wait))
                return
        if role is not None:
            self.page_context.access.begin(role, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops"


class Logout(Page):
    """Ends the session in this browser."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the cookie back, from readers too."""
        try:
            principal = self.page_context.access.principal(req)
        except TooManyAttempts as wait:
            self._render(req, resp, None, not_now(resp, wait))
            return
        if principal is not None and principal.session is not None:
            form = read_form(req)
            try:
                self.page_context.access.check_page(req, principal.session, value(form, FORM_TOKEN))
            except Refused:
                resp.status, resp.location = falcon.HTTP_303, "/ops"
                return
            self.page_context.note(principal, "logged out")
        self.page_context.access.end(resp)
        resp.status = falcon.HTTP_303
        resp.location = "/ops/login"


def _ours(address: str) -> str:
    """An address of the page; nobody is sent anywhere else."""
    return address if OUR_ADDRESS.fullmatch(address) else "/ops"
