"""The door: who is there, and whether what they send comes from our own page."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import falcon
import structlog

from service.admin_ui.auth.roles import Role, Tokens
from service.admin_ui.auth.sessions import LASTS_S, SAID_LASTS_S, Session, Sessions
from service.web.login_throttle import LoginThrottle, address_of

log = structlog.get_logger(__name__)

COOKIE: Final = "mirt_ops"
SAID: Final = "mirt_ops_said"
PATH: Final = "/ops"
FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of a field


class Refused(Exception):  # noqa: N818 - what becomes of the request
    """Somebody who may look may not do this; the text says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in: with a session, or, without one, by a bearer token."""

    role: Role
    session: Session | None = None

    @property
    def may_act(self) -> bool:
        """Whether there are buttons for them."""
        return self.role is Role.OPERATOR


class Access:
    """Lets in who brings a token or a cookie that was given for one."""

    def __init__(self, tokens: Tokens, sessions: Sessions, attempts: LoginThrottle) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._attempts = attempts

    def principal(self, req: falcon.Request) -> Principal | None:
        """Who it is; None if nobody knows.

        Raises:
            TooManyAttempts: too many wrong bearer tokens came from there.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            role = self.role_of(given.strip(), req)
            return None if role is None else Principal(role)
        session = self._sessions.read(req.cookies.get(COOKIE, ""))
        return None if session is None else Principal(session.role, session)

    def role_of(self, given: str, req: falcon.Request) -> Role | None:
        """Whose token it is. Raises as above."""
        role = self._tokens.role_of(given)
        self._attempts.check(req, is_right=role is not None)
        return role

    def begin(self, role: Role, req: falcon.Request, resp: falcon.Response) -> None:
        """Give a cookie for a new session."""
        log.info("ops_logged_in", role=role.value, address=address_of(req))
        _set(req, resp, COOKIE, self._sessions.begin(role), LASTS_S)

    def end(self, resp: falcon.Response) -> None:
        """Take the cookie back."""
        for name in (COOKIE, SAID):
            resp.unset_cookie(name, path=PATH, same_site="Strict")

    def check_form(self, req: falcon.Request, principal: Principal, form_token: str) -> None:
        """Make sure that an operator sends this from our own page; a bearer needs no page.

        Raises:
            Refused: it comes from somewhere else, or from somebody who may only look.
        """
        if principal.session is not None:
            self.check_page(req, principal.session, form_token)
        if not principal.may_act:
            raise Refused("OPS_READ_TOKEN lets you look; for this you need OPS_TOKEN")

    def check_page(self, req: falcon.Request, session: Session, form_token: str) -> None:
        """Make sure that this was sent from a page of this session.

        Raises:
            Refused: it was not.
        """
        check_origin(req)
        if not self._sessions.is_form_token(session, form_token):
            raise Refused("this form is too old, or not from this page: open it again")

    def form_token(self, principal: Principal) -> str:
        """What the forms of this visitor carry."""
        return self._sessions.form_token(principal.session) if principal.session else ""

    def say(
        self, principal: Principal, text: str, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Have the next page say this, once."""
        if principal.session is not None:
            _set(req, resp, SAID, self._sessions.say(principal.session, text), SAID_LASTS_S)

    def said(self, principal: Principal, req: falcon.Request, resp: falcon.Response) -> str | None:
        """What this page is to say; a second time it says nothing."""
        cookie = req.cookies.get(SAID)
        if cookie is None or principal.session is None:
            return None
        resp.unset_cookie(SAID, path=PATH, same_site="Strict")
        return self._sessions.said(principal.session, cookie)


def check_origin(req: falcon.Request) -> None:
    """Make sure that a browser sends this from a page of ours.

    A page without referrers says ``Origin: null`` of itself, so that alone says nothing.

    Raises:
        Refused: the browser says that it is from somewhere else.
    """
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    ours = {req.netloc, req.forwarded_host}
    try:
        foreign = origin not in (None, "null") and urlsplit(origin or "").netloc not in ours
    except ValueError:
        foreign = True  # what is no origin is not ours
    if foreign or site not in (None, "same-origin"):
        raise Refused("this form was sent from another site")


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
