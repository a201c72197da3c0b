"""Authenticate operators, and check that a form comes from our own page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import falcon
import structlog

from mirt.operators import Door, Operator
from service.admin_ui.auth.roles import Credential, Role, Tokens
from service.admin_ui.auth.sessions import FLASH_TTL_S, SESSION_TTL_S, Session, Sessions
from service.web.clients import Clients
from service.web.login_throttle import LoginThrottle
from service.web.request_log import REFRESH

log = structlog.get_logger(__name__)

COOKIE: Final = "mirt_ops"
FLASH: Final = "mirt_ops_said"
PATH: Final = "/ops"
LONG_AGO: Final = datetime.fromtimestamp(0, UTC)
FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of a field


class AccessDenied(Exception):  # noqa: N818 - the outcome of a request
    """The operator may not do this; the text says why."""


class ReadOnly(AccessDenied):
    """The operator may read and nothing else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated operator: with a session, or without one by a bearer token."""

    credential: Credential
    session: Session | None = None

    @property
    def name(self) -> str:
        """The name of the operator."""
        return self.credential.name

    @property
    def role(self) -> Role:
        """The rights of the operator."""
        return self.credential.role

    @property
    def operator(self) -> Operator:
        """The operator for the audit."""
        return Operator(self.name, Door.PAGE if self.session else Door.BEARER)

    @property
    def may_act(self) -> bool:
        """Whether the operator may change something; pages show buttons only then."""
        return self.role is Role.OPERATOR


class Access:
    """Authenticates requests by a bearer token or by the cookie of a session."""

    def __init__(
        self,
        tokens: Tokens,
        sessions: Sessions,
        login_throttle: LoginThrottle,
        clients: Clients | None = None,
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._login_throttle = login_throttle
        self._clients = clients or Clients()

    def principal(self, req: falcon.Request) -> Principal | None:
        """Return the operator of a request; None if it carries no valid token or cookie.

        Raises:
            TooManyAttempts: too many wrong bearer tokens came from this address.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            known = self.credential_of(given.strip(), req)
            return None if known is None else Principal(known)
        session = self._sessions.read(req.cookies.get(_cookie(req, COOKIE), ""))
        return None if session is None else Principal(session.credential, session)

    def admit(self, req: falcon.Request) -> None:
        """Return if the address of this request may try a token in the form of the login.

        Raises:
            TooManyAttempts: too many wrong tokens came from it.
        """
        self._login_throttle.admit(req)

    def credential_of(self, given: str, req: falcon.Request) -> Credential | None:
        """Return the operator of a token, None for a wrong one (counted). Raises as ``admit``."""
        known = self._tokens.credential_of(given)
        if known is None:
            self._login_throttle.refuse(req)
        return known

    def begin(self, known: Credential, req: falcon.Request, resp: falcon.Response) -> None:
        """Set the cookie of a new session."""
        address = self._clients.address_of(req)
        log.info("ops_logged_in", operator=known.name, role=known.role.value, address=address)
        _set(req, resp, COOKIE, self._sessions.begin(known), SESSION_TTL_S)

    def keep(self, principal: Principal, req: falcon.Request, resp: falcon.Response) -> None:
        """Keep the session of an operator who is there from ending as an idle one."""
        if principal.session is None or req.get_header(REFRESH) is not None:
            return
        if renewed := self._sessions.renew(principal.session):
            _set(req, resp, COOKIE, *renewed)

    def end(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Delete the cookies of the session."""
        for name in (COOKIE, FLASH):
            _unset(req, resp, name)

    def check_form(self, req: falcon.Request, principal: Principal, form_token: str) -> None:
        """Check that a form is from our page and its operator may act; a bearer needs no page.

        Raises:
            AccessDenied: the form is not from our page, or the operator may only read.
        """
        if principal.session is not None:
            self.check_page(req, principal.session, form_token)
        if not principal.may_act:
            raise ReadOnly("OPS_READ_TOKEN is read-only; log in with OPS_TOKEN to do this")

    def check_page(self, req: falcon.Request, session: Session, form_token: str) -> None:
        """Check that a form was sent from a page of this session.

        Raises:
            AccessDenied: the form is from another site, another session, or too old.
        """
        self.check_origin(req)
        if not self._sessions.is_form_token(session, form_token):
            raise AccessDenied("this form is too old, or not from this page: open the page again")

    def check_origin(self, req: falcon.Request) -> None:
        """Check that the browser sends a form from one of our pages.

        Our pages send no referrer, so the browser may send ``Origin: null``. That alone proves
        nothing.

        Raises:
            AccessDenied: the browser says that the form is from another site.
        """
        site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
        ours = self._clients.hosts_of(req)
        try:
            foreign = origin not in (None, "null") and urlsplit(origin or "").netloc not in ours
        except ValueError:
            foreign = True  # a malformed origin is not ours
        if foreign or site not in (None, "same-origin"):
            raise AccessDenied("this form was sent from another site")

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
        cookie = req.cookies.get(_cookie(req, FLASH))
        if cookie is None or principal.session is None:
            return None
        _unset(req, resp, FLASH)
        return self._sessions.open_flash(principal.session, cookie)


def _set(req: falcon.Request, resp: falcon.Response, name: str, value: str, max_age_s: int) -> None:
    resp.set_cookie(
        _cookie(req, name),
        value,
        # Falcon takes an age of 0 for none.
        max_age=max_age_s or None,
        expires=None if max_age_s else LONG_AGO,
        path=PATH,
        http_only=True,
        same_site="Strict",
        secure=_is_secure(req),
    )


def _unset(req: falcon.Request, resp: falcon.Response, name: str) -> None:
    # Not `unset_cookie`, which is without Secure: a browser keeps the cookie then.
    _set(req, resp, name, "", 0)


def _cookie(req: falcon.Request, name: str) -> str:
    """Return the name of a cookie; no browser takes a ``__Secure-`` one from a page without TLS.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
    """
    return f"__Secure-{name}" if _is_secure(req) else name


def _is_secure(req: falcon.Request) -> bool:
    # From any peer: a forged header makes only the cookie of its own sender stricter.
    return req.forwarded_scheme == "https"
