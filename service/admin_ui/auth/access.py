"""Authenticate operators, and check that a form comes from our own page."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import falcon
import structlog

from service.admin_ui.auth.roles import Role, Tokens
from service.admin_ui.auth.sessions import FLASH_TTL_S, SESSION_TTL_S, Session, Sessions
from service.web.login_throttle import LoginThrottle, address_of

log = structlog.get_logger(__name__)

COOKIE: Final = "mirt_ops"
FLASH: Final = "mirt_ops_said"
PATH: Final = "/ops"
FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of a field


class AccessDenied(Exception):  # noqa: N818 - the outcome of a request
    """The operator may not do this; the text says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated operator: with a session, or without one by a bearer token."""

    role: Role
    session: Session | None = None

    @property
    def may_act(self) -> bool:
        """Whether the operator may change something; pages show buttons only then."""
        return self.role is Role.OPERATOR


class Access:
    """Authenticates requests by a bearer token or by the cookie of a session."""

    def __init__(self, tokens: Tokens, sessions: Sessions, login_throttle: LoginThrottle) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._login_throttle = login_throttle

    def principal(self, req: falcon.Request) -> Principal | None:
        """Return the operator of a request; None if it carries no valid token or cookie.

        Raises:
            TooManyAttempts: too many wrong bearer tokens came from this address.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            role = self.role_of(given.strip(), req)
            return None if role is None else Principal(role)
        session = self._sessions.read(req.cookies.get(COOKIE, ""))
        return None if session is None else Principal(session.role, session)

    def role_of(self, given: str, req: falcon.Request) -> Role | None:
        """Return the role of a token, None for a wrong one (counted). Raises as ``principal``."""
        role = self._tokens.role_of(given)
        self._login_throttle.check(req, is_right=role is not None)
        return role

    def begin(self, role: Role, req: falcon.Request, resp: falcon.Response) -> None:
        """Set the cookie of a new session."""
        log.info("ops_logged_in", role=role.value, address=address_of(req))
        _set(req, resp, COOKIE, self._sessions.begin(role), SESSION_TTL_S)

    def end(self, resp: falcon.Response) -> None:
        """Delete the cookies of the session."""
        for name in (COOKIE, FLASH):
            resp.unset_cookie(name, path=PATH, same_site="Strict")

    def check_form(self, req: falcon.Request, principal: Principal, form_token: str) -> None:
        """Check that a form is from our page and its operator may act; a bearer needs no page.

        Raises:
            AccessDenied: the form is not from our page, or the operator may only read.
        """
        if principal.session is not None:
            self.check_page(req, principal.session, form_token)
        if not principal.may_act:
            raise AccessDenied("OPS_READ_TOKEN is read-only; log in with OPS_TOKEN to do this")

    def check_page(self, req: falcon.Request, session: Session, form_token: str) -> None:
        """Check that a form was sent from a page of this session.

        Raises:
            AccessDenied: the form is from another site, another session, or too old.
        """
        check_origin(req)
        if not self._sessions.is_form_token(session, form_token):
            raise AccessDenied("this form is too old, or not from this page: open the page again")

    def form_token(self, principal: Principal) -> str:
        """Return the form token of the session; empty for a bearer token."""
        return self._sessions.form_token(principal.session) if principal.session else ""

    def set_flash(
        self, principal: Principal, text: str, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Set a flash message, which the next page shows once."""
        if principal.session is not None:
            _set(req, resp, FLASH, self._sessions.seal_flash(principal.session, text), FLASH_TTL_S)

    def take_flash(
        self, principal: Principal, req: falcon.Request, resp: falcon.Response
    ) -> str | None:
        """Return the flash message and delete it."""
        cookie = req.cookies.get(FLASH)
        if cookie is None or principal.session is None:
            return None
        resp.unset_cookie(FLASH, path=PATH, same_site="Strict")
        return self._sessions.open_flash(principal.session, cookie)


def check_origin(req: falcon.Request) -> None:
    """Check that the browser sends a form from one of our pages.

    Our pages send no referrer, so the browser may send ``Origin: null``. That alone proves nothing.

    Raises:
        AccessDenied: the browser says that the form is from another site.
    """
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    ours = {req.netloc, req.forwarded_host}
    try:
        foreign = origin not in (None, "null") and urlsplit(origin or "").netloc not in ours
    except ValueError:
        foreign = True  # a malformed origin is not ours
    if foreign or site not in (None, "same-origin"):
        raise AccessDenied("this form was sent from another site")


def _set(req: falcon.Request, resp: falcon.Response, name: str, value: str, max_age_s: int) -> None:
    resp.set_cookie(
        name,
        value,
        max_age=max_age_s,
        path=PATH,
        http_only=True,
        same_site="Strict",
        secure=req.forwarded_scheme == "https",
    )
