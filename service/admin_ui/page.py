"""Provide the base classes of the pages: authentication, time limit, errors, rendering."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import falcon
import structlog

from mirt.errors import PermanentError, RetryableError
from mirt.operators import Operator, acting_as
from mirt.runtime import Runtime
from mirt.store.queue.audit import Outcome
from service.admin import audit, sessions
from service.admin_ui.auth.access import FORM_TOKEN, Access, AccessDenied, Principal, ReadOnly
from service.admin_ui.auth.roles import Tokens
from service.admin_ui.language import keep_language, language_of, other_language
from service.admin_ui.templates import Templates
from service.admin_ui.zone import zone_of
from service.web.bodies import read_form
from service.web.bulkhead import Bulkhead
from service.web.login_throttle import TooManyAttempts

log = structlog.get_logger(__name__)

PAGE_TIMEOUT_S: Final = 3.0
"""Seconds that a page waits for the database; then it answers 503 and says so."""
THREADS: Final = 4
"""Pages made at the same time: fewer than the threads that answer webhooks."""

Form = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class View:
    """A rendered answer. ``is_live``: the browser may refresh it from the same address."""

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    status: str = falcon.HTTP_200
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Redirect:
    """The answer to a form that acted: a message, and the page that shows it."""

    message: str
    to: str


@dataclass(frozen=True, slots=True)
class PageContext:
    """The dependencies that all pages share."""

    runtime: Runtime
    tokens: Tokens
    access: Access
    templates: Templates
    bulkhead: Bulkhead

    def log_action(self, principal: Principal, did: str, **about: Any) -> None:
        """Log an action of an operator, with the name, the role and the session."""
        session = principal.session.id[:6] if principal.session else "bearer"
        role = principal.role.value
        log.info("operator", did=did, name=principal.name, role=role, session=session, **about)


class Page:
    """Base class of the pages: authenticates, runs the work, renders its answer or error."""

    def __init__(self, page_context: PageContext) -> None:
        self.page_context = page_context
        self.runtime = page_context.runtime

    def _serve(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        work: Callable[[Principal], View | Redirect],
    ) -> None:
        principal = None
        try:
            if not self.page_context.tokens:
                self._render(req, resp, None, View("off.html", status=falcon.HTTP_404))
                return
            principal = self.page_context.access.principal(req)
            if principal is None or self._has_logged_out(principal):
                self._render(req, resp, None, ask_to_log_in(req))
                return
            self.page_context.access.keep(principal, req, resp)
            with acting_as(principal.operator):
                answer = work(principal)
        except TooManyAttempts as error:
            answer = too_many_attempts(resp, error)
        except AccessDenied as error:
            log.warning("ops_refused", path=req.path, why=str(error))
            if isinstance(error, ReadOnly) and principal is not None:
                self._audit(principal.operator, f"POST {req.path}", outcome=Outcome.REFUSED)
            answer = _error_page(falcon.HTTP_403, "Not allowed", str(error))
        except PermanentError as error:
            answer = _error_page(falcon.HTTP_400, "Invalid request", error.message)
        except RetryableError as error:
            log.warning("ops_not_shown", path=req.path, why=error.message)
            resp.set_header("Retry-After", "2")
            why = "The database does not answer. This page works again as soon as it does."
            title = "The database cannot be reached"
            is_get = req.method == "GET"
            answer = _error_page(falcon.HTTP_503, title, why, is_live=is_get)
        if isinstance(answer, View):
            self._render(req, resp, principal, answer)
        elif principal is not None:
            self._redirect(req, resp, principal, answer)

    def _has_logged_out(self, principal: Principal) -> bool:
        session = principal.session
        return session is not None and self.page_context.bulkhead.call(
            lambda: sessions.has_ended(self.runtime, session.id)
        )

    def _audit(self, operator: Operator, act: str, outcome: Outcome = Outcome.DONE) -> None:
        """Record an act that needs no database itself; without a database the log has it."""
        try:
            with acting_as(operator):
                audit.record(self.runtime, act, outcome=outcome)
        except RetryableError as error:
            log.warning("act_not_recorded", act=act, name=operator.name, why=error.message)

    def _render(
        self, req: falcon.Request, resp: falcon.Response, principal: Principal | None, view: View
    ) -> None:
        access = self.page_context.access
        keep_language(req, resp)
        resp.status = view.status
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.page_context.templates.render(
            view.template,
            **{
                "principal": principal,
                "form_token": access.form_token(principal) if principal else "",
                "flash": access.take_flash(principal, req, resp) if principal else None,
                "now": self.runtime.clock(),
                "zone": zone_of(req),
                "language": (language := language_of(req)),
                "other_language": other_language(req, language),
                "path": req.path,
                "here": req.relative_uri,
                "is_live": view.is_live and principal is not None,
                **view.context,
            },
        )

    def _redirect(
        self, req: falcon.Request, resp: falcon.Response, principal: Principal, redirect: Redirect
    ) -> None:
        if principal.session is None:
            resp.media = {"message": redirect.message}
            return
        self.page_context.access.set_flash(principal, redirect.message, req, resp)
        resp.status = falcon.HTTP_303
        resp.location = redirect.to


class ReadPage(Page, ABC):
    """A page that an operator reads."""

    @abstractmethod
    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the page with the current data.

        Raises:
            PermanentError: a field of the request is invalid; the text says why.
            RetryableError: the database cannot be read.
        """

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the page to an authenticated operator, else the login form."""
        in_time = self.page_context.bulkhead.call
        self._serve(req, resp, lambda principal: in_time(lambda: self.show(req, principal)))


class FormPage(Page, ABC):
    """A page with forms that act."""

    @abstractmethod
    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Perform the action of a form, or return a page that asks first. Raises as ``show``."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check that the form comes from our page, and perform its action."""

        def act(principal: Principal) -> View | Redirect:
            form = read_form(req)
            self.page_context.access.check_form(req, principal, value(form, FORM_TOKEN))
            return self.act(form, principal)

        self._serve(req, resp, act)


def ask_to_log_in(req: falcon.Request, *, why: str | None = None, to: str | None = None) -> View:
    """Return the login form; after the login the browser goes on to ``to``."""
    from_other_site = req.get_header("Sec-Fetch-Site") == "cross-site"
    here = "/ops" if req.method != "GET" or req.path == "/ops/login" else req.relative_uri
    context = {"why": why, "to": to or here, "from_other_site": from_other_site}
    is_login_page = req.method == "GET" and req.path == "/ops/login"
    status = falcon.HTTP_200 if is_login_page else falcon.HTTP_401
    return View("login.html", context, status=status, is_live=False)


def too_many_attempts(resp: falcon.Response, error: TooManyAttempts) -> View:
    """Return the page for an address that sent too many wrong tokens; sets Retry-After."""
    resp.set_header("Retry-After", str(error.retry_after))
    return _error_page(falcon.HTTP_429, "Too many attempts", str(error))


def value(form: Form, name: str) -> str:
    """Return the last value of a field; empty if the form has none."""
    return form.get(name, [""])[-1].strip()


def _error_page(status: str, title: str, why: str, *, is_live: bool = False) -> View:
    return View("wrong.html", {"title": title, "why": why}, status=status, is_live=is_live)
