"""What all pages have in common: who may see them, and what becomes of an error."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import falcon
import structlog

from mirt.errors import PermanentError, RetryableError
from mirt.runtime import Runtime
from service.admin_ui.auth.access import FORM_TOKEN, Access, Principal, Refused
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.templates import Templates
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
class PageContext:
    """What every page needs."""

    runtime: Runtime
    tokens: Tokens
    access: Access
    look: Templates
    bulkhead: Bulkhead

    def note(self, principal: Principal, did: str, **about: Any) -> None:
        """Log what somebody did, by their role and their session."""
        session = principal.session.id[:6] if principal.session else "bearer"
        log.info("operator", did=did, role=principal.role.value, session=session, **about)


class Page:
    """An address of the page."""

    def __init__(self, page_context: PageContext) -> None:
        self.page_context = page_context
        self.runtime = page_context.runtime

    def _serve(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        work: Callable[[Principal], View | Done],
    ) -> None:
        principal = None
        try:
            if not self.page_context.tokens:
                self._render(req, resp, None, View("off.html", status=falcon.HTTP_404))
                return
            principal = self.page_context.access.principal(req)
            if principal is None:
                self._render(req, resp, None, ask_to_log_in(req))
                return
            answer = work(principal)
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
            self._render(req, resp, principal, answer)
        elif principal is not None:
            self._redirect(req, resp, principal, answer)

    def _render(
        self, req: falcon.Request, resp: falcon.Response, principal: Principal | None, view: View
    ) -> None:
        access = self.page_context.access
        resp.status = view.status
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.page_context.look.render(
            view.template,
            **{
                "visitor": principal,
                "form_token": access.form_token(principal) if principal else "",
                "said": access.said(principal, req, resp) if principal else None,
                "now": self.runtime.clock(),
                "path": req.path,
                "here": req.relative_uri,
                "is_live": view.is_live and principal is not None,
                **view.context,
            },
        )

    def _redirect(
        self, req: falcon.Request, resp: falcon.Response, principal: Principal, done: Done
    ) -> None:
        if principal.session is None:
            resp.media = {"message": done.said}
            return
        self.page_context.access.say(principal, done.said, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = done.to


class ReadPage(Page, ABC):
    """A page to be looked at."""

    @abstractmethod
    def show(self, req: falcon.Request, principal: Principal) -> View:
        """The page, as it is now.

        Raises:
            PermanentError: what was asked for makes no sense; the text says why.
            RetryableError: the database cannot be asked.
        """

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the page to whoever may see it."""
        look = self.page_context.bulkhead.call
        self._serve(req, resp, lambda principal: look(lambda: self.show(req, principal)))


class FormPage(Page, ABC):
    """A page whose forms do something."""

    @abstractmethod
    def act(self, form: Form, principal: Principal) -> View | Done:
        """Do what a form asks for, or ask whether it is meant. Raises as a page does."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Do what an operator asks for from our own page."""

        def act(principal: Principal) -> View | Done:
            form = read_form(req)
            self.page_context.access.check_form(req, principal, value(form, FORM_TOKEN))
            return self.act(form, principal)

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
