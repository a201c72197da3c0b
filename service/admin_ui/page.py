"""What all pages have in common: who may see them, and what becomes of an error."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import falcon
import structlog

from mirt.errors import PermanentError, RetryableError
from mirt.runtime import Runtime
from service.admin_ui.auth.access import FORM_TOKEN, Door, Refused, Visitor
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.templates import Look
from service.web.bodies import read_form
from service.web.bulkhead import Bulkhead
from service.web.login_throttle import TooManyAttempts

log = structlog.get_logger(__name__)

SHOWN_WITHIN_S: Final = 3.0
"""So long a page waits for the database; then it says that it does."""
THREADS: Final = 4
"""Pages that are made at the same moment: fewer than the threads that webhooks are answered by."""

Form = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class View:
    """A page to be shown. ``is_live``: it may be refreshed by asking for the same address."""

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    status: str = falcon.HTTP_200
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """Something was done: what is to be said about it, and the page that says so."""

    said: str
    to: str


@dataclass(frozen=True, slots=True)
class Desk:
    """What every page needs."""

    runtime: Runtime
    tokens: Tokens
    door: Door
    look: Look
    bulkhead: Bulkhead

    def note(self, visitor: Visitor, did: str, **about: Any) -> None:
        """Log what somebody did, by their role and their session."""
        session = visitor.session.id[:6] if visitor.session else "bearer"
        log.info("operator", did=did, role=visitor.role.value, session=session, **about)


class Page:
    """An address of the page."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.runtime = desk.runtime

    def _serve(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        work: Callable[[Visitor], View | Done],
    ) -> None:
        visitor = None
        try:
            if not self.desk.tokens:
                self._render(req, resp, None, View("off.html", status=falcon.HTTP_404))
                return
            visitor = self.desk.door.visitor(req)
            if visitor is None:
                self._render(req, resp, None, ask_to_log_in(req))
                return
            answer = work(visitor)
        except TooManyAttempts as wait:
            answer = not_now(resp, wait)
        except Refused as refused:
            log.warning("ops_refused", path=req.path, why=str(refused))
            answer = _wrong(falcon.HTTP_403, "Refused", str(refused))
        except PermanentError as wrong:
            answer = _wrong(falcon.HTTP_400, "That cannot be", wrong.message)
        except RetryableError as down:
            log.warning("ops_not_shown", path=req.path, why=down.message)
            resp.set_header("Retry-After", "2")
            why = "Nothing can be shown or done until it answers again."
            title = "The database cannot be asked"
            is_get = req.method == "GET"
            answer = _wrong(falcon.HTTP_503, title, why, is_live=is_get)
        if isinstance(answer, View):
            self._render(req, resp, visitor, answer)
        elif visitor is not None:
            self._redirect(req, resp, visitor, answer)

    def _render(
        self, req: falcon.Request, resp: falcon.Response, visitor: Visitor | None, view: View
    ) -> None:
        door = self.desk.door
        resp.status = view.status
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.desk.look.render(
            view.template,
            **{
                "visitor": visitor,
                "form_token": door.form_token(visitor) if visitor else "",
                "said": door.said(visitor, req, resp) if visitor else None,
                "now": self.runtime.clock(),
                "path": req.path,
                "here": req.relative_uri,
                "is_live": view.is_live and visitor is not None,
                **view.context,
            },
        )

    def _redirect(
        self, req: falcon.Request, resp: falcon.Response, visitor: Visitor, done: Done
    ) -> None:
        if visitor.session is None:
            resp.media = {"message": done.said}
            return
        self.desk.door.say(visitor, done.said, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = done.to


class Shown(Page, ABC):
    """A page to be looked at."""

    @abstractmethod
    def show(self, req: falcon.Request, visitor: Visitor) -> View:
        """The page, as it is now.

        Raises:
            PermanentError: what was asked for makes no sense; the text says why.
            RetryableError: the database cannot be asked.
        """

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the page to whoever may see it."""
        look = self.desk.bulkhead.call
        self._serve(req, resp, lambda visitor: look(lambda: self.show(req, visitor)))


class Acting(Page, ABC):
    """A page whose forms do something."""

    @abstractmethod
    def act(self, form: Form, visitor: Visitor) -> View | Done:
        """Do what a form asks for, or ask whether it is meant. Raises as a page does."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Do what an operator asks for from our own page."""

        def act(visitor: Visitor) -> View | Done:
            form = read_form(req)
            self.desk.door.check_form(req, visitor, value(form, FORM_TOKEN))
            return self.act(form, visitor)

        self._serve(req, resp, act)


def ask_to_log_in(req: falcon.Request, *, why: str | None = None, to: str | None = None) -> View:
    """The form that asks for a token; with it one comes back to where one wanted to go."""
    crossed = req.get_header("Sec-Fetch-Site") == "cross-site"
    here = "/ops" if req.method != "GET" or req.path == "/ops/login" else req.relative_uri
    context = {"why": why, "to": to or here, "crossed": crossed}
    is_asked_for = req.method == "GET" and req.path == "/ops/login"
    status = falcon.HTTP_200 if is_asked_for else falcon.HTTP_401
    return View("login.html", context, status=status, is_live=False)


def not_now(resp: falcon.Response, wait: TooManyAttempts) -> View:
    """What whoever guesses tokens sees instead of any page."""
    resp.set_header("Retry-After", str(wait.retry_after))
    return _wrong(falcon.HTTP_429, "Not now", str(wait))


def value(form: Form, name: str) -> str:
    """The last value of a field; empty if it has none."""
    return form.get(name, [""])[-1].strip()


def _wrong(status: str, title: str, why: str, *, is_live: bool = False) -> View:
    return View("wrong.html", {"title": title, "why": why}, status=status, is_live=is_live)
