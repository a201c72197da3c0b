"""Call an outside service over HTTP, and turn its answers and failures into our errors."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, Final

import httpx
from pydantic import SecretStr

from mirt import clock, service_calls
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    SoftTimeLimitExceeded,
)
from mirt.http.answer import Answer, bounded, read_retry_after
from mirt.http.breaker import Breaker, Cause
from mirt.http.network import request_deadline
from mirt.http.pool import AnswerTooLargeError, Pool
from mirt.observe import traces

_EARLY: Final = 0.01  # seconds that a socket may time out before its deadline
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NO_ADDRESS = (httpx.UnsupportedProtocol, httpx.InvalidURL)
_CHECK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class SettingNames:
    """The settings to mend if a service refuses us: its key, and its address."""

    key: str = "its key"
    url: str = "its address"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that every request would get: its status or code, and the words of the service."""

    code: str
    words: str


class ExternalService:
    """One outside service: a bounded pool of kept-alive connections, usable from any thread.

    The first call of a process opens the pool. Every request ends within ``timeout`` seconds and by
    the deadline of the task (``mirt.clock``), even if its bytes come slowly. After five failures in
    a row, or one refusal of our account, calls fail at once, except for one trial in three seconds
    and those of a probe (``mirt.service_calls``). Other answers of 4xx, including 429, are no
    failures of the service.

    No error and no log contains ``base_url`` (it may hold a token), a header, or a text of the HTTP
    client. The adapter gets answers with asterisks in place of each of ``secrets``.

    >>> headers = {"Authorization": SecretStr("Bearer key")}
    >>> crm = ExternalService(
    ...     "crm", url, headers=headers, timeout=15, refusal_code=ErrorCode.CRM_REJECTED
    ... )
    >>> crm.call("GET", "/api/orders", params={"external_id": "a1"}, idempotent=True).body
    {'data': []}
    >>> crm.close()
    """

    def __init__(
        self,
        name: str,
        base_url: str | SecretStr,
        *,
        headers: Mapping[str, SecretStr | str] | None = None,
        secrets: Collection[SecretStr] = (),
        timeout: float,
        refusal_code: ErrorCode,
        retry_after: Callable[[Answer], float | None] = lambda _: None,
        had_no_effect: Callable[[Answer], bool] = lambda _: False,
        settings: SettingNames = SettingNames(),
        account_refusal: Callable[[Answer], Refusal | None] = lambda _: None,
        failure_in: Callable[[Answer], str | None] = lambda _: None,
        check: tuple[str, str] | None = None,
        breaker: bool = True,
        max_connections: int = 64,
    ) -> None:
        """Take the seconds that a whole request may last and the error code of its refusals.

        ``retry_after`` reads the seconds to wait from the body of a 429. If it returns None, the
        header counts. ``had_no_effect`` says whether the body of a 408 or 5xx proves that nothing
        was done. A 503 with ``Retry-After`` always proves it.

        ``account_refusal`` reads an answer that refuses our key or account, whatever the request
        was; the setting to mend is one of ``settings``. ``failure_in`` returns the words of an
        answer of 2xx that says that the service has failed. ``check`` is the method and path of a
        request without effect: during an outage it goes before a request with one, so that no
        trial repeats the effect.
        """
        self.name = name
        self._timeout = timeout
        self._refusal_code = refusal_code
        self._retry_after = retry_after
        self._had_no_effect = had_no_effect
        self._settings = settings
        self._account_refusal = account_refusal
        self._failure_in = failure_in
        self._check = check
        self._breaker = Breaker() if breaker else Breaker(limit=inf)
        self._pool = Pool(
            base_url, headers=headers or {}, secrets=secrets, max_connections=max_connections
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        idempotent: bool = False,
        accept: Collection[int] = (),
        timeout: float | None = None,
        shown_as: str | None = None,
    ) -> Answer:
        """Send one request once, without following redirects, and return its answer.

        ``idempotent`` means that a second request does no harm, so a lost answer is a plain
        failure. Without it a 408 or 5xx leaves the outcome unknown like a lost answer: a proxy may
        have given up while the service went on. ``accept`` lists refusals (3xx or 4xx, except 408
        and 429) that the caller reads itself. ``timeout`` in seconds replaces that of the service.
        Errors and traces show ``path``, so a path that holds a secret is ``shown_as`` something.

        Raises:
            RateLimitError: the service answered 429; ``retry_after`` is 1 s to 3600 s.
            OutageError: the service refuses our account; or it keeps failing, and the request was
                not sent.
            OutcomeUnknownError: the request was sent, and no answer says whether it took effect.
            ExternalServiceError: the request was not sent, had no effect, or is idempotent.
            PermanentError: the service refused the request; with the refusal code.
            SoftTimeLimitExceeded: the deadline of the task passed before the answer.
        """
        shown = path if shown_as is None else shown_as
        request = f"{method} {shown}"
        seconds = self._timeout if timeout is None else timeout
        clock.remaining(seconds)
        self._admit(idempotent=idempotent)
        left = clock.remaining(seconds)
        attributes = {
            "peer.service": self.name,
            "http.request.method": method,
            "url.template": shown,
        }
        with traces.span(f"{method} {self.name}", "client", attributes) as span:
            exchange = partial(self._pool.exchange, method, path, json=json, params=params)
            answer = self._send(exchange, request, seconds, left, idempotent=idempotent)
            answer = replace(answer, sent=json)
            span.set_attributes({"http.response.status_code": answer.status})
            return self._classify_status(answer, request, accept, idempotent=idempotent)

    def _send(
        self,
        exchange: Callable[..., Answer],
        request: str,
        seconds: float,
        left: float,
        *,
        idempotent: bool,
    ) -> Answer:
        end = time.monotonic() + left
        failure: Exception
        try:
            with request_deadline(end):
                return exchange(within_s=left)
        except (httpx.HTTPError, httpx.InvalidURL, AnswerTooLargeError) as error:
            failure = error
        # Raised outside of the except block, or its context would hold the URL and headers.
        if left < seconds and time.monotonic() >= end - _EARLY:
            raise SoftTimeLimitExceeded
        raise self._classify_failure(failure, request, idempotent=idempotent)

    def open(self) -> None:
        """Open the pool now, so that the first call does not wait for it.

        Reading the certificates takes longer than most requests.
        """
        self._pool.open()

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._pool.close()

    def _admit(self, *, idempotent: bool) -> None:
        """Raise OutageError unless this call may be sent."""
        calls = service_calls.current()
        is_probe = calls.probe == self.name
        if not is_probe and not self._breaker.is_open:
            return
        if not is_probe and (self.name in calls.held or self._breaker.wait_s() > 0):
            raise self._outage()
        if self._check is not None and not idempotent:
            self._ask_without_effect(*self._check)

    def _ask_without_effect(self, method: str, path: str) -> None:
        left = clock.remaining(_CHECK_S)
        try:
            exchange = partial(self._pool.exchange, method, path, json=None, params=None)
            answer = self._send(exchange, f"{method} {path}", _CHECK_S, left, idempotent=True)
        except ExternalServiceError:
            answer = None
        if answer is not None and answer.status < 500:
            self._refuse_account(answer)
            return
        if answer is not None:
            self._breaker.failed(Cause(str(answer.status)))
        raise self._outage()

    def _outage(self) -> OutageError:
        cause = self._breaker.cause
        return OutageError(
            self.name,
            cause.reason,
            code=cause.code,
            setting=cause.setting,
            failed_s_ago=self._breaker.failed_s_ago,
            forget=self._breaker.close,
        )

    def _refuse_account(self, answer: Answer) -> None:
        """Raise OutageError for an answer that every request would get."""
        cause = None
        if 300 <= answer.status < 400:
            cause = Cause(str(answer.status), "it has moved", self._settings.url)
        elif (refusal := self._account_refusal(answer)) is not None:
            cause = Cause(refusal.code, refusal.words, self._settings.key)
        if cause is not None:
            self._breaker.refused(cause)
            raise self._outage()

    def _heard(self) -> None:
        self._breaker.heard()
        service_calls.current().answered.add(self.name)

    def _classify_status(
        self, answer: Answer, request: str, accept: Collection[int], *, idempotent: bool
    ) -> Answer:
        """Return an answer that is no failure; raise the error of its status otherwise."""
        status = answer.status
        if status >= 500:
            self._breaker.failed(Cause(str(status)))
        elif status not in accept or status >= 400:
            self._refuse_account(answer)
        if status < 300 and (words := self._failure_in(answer)) is not None:
            self._breaker.failed(Cause(reason=words))
            raise self._failure(words, is_certain=idempotent)
        if status < 500 and status != 429:
            self._heard()
        if status >= 500 or status == 408:
            is_certain = idempotent or _is_turned_away(answer) or self._had_no_effect(answer)
            raise self._failure(f"{request} answered {status}", is_certain=is_certain)
        if status == 429:
            named = self._retry_after(answer)
            wait = (
                read_retry_after(answer.headers.get("retry-after"), clock.utc_now())
                if named is None
                else bounded(named)
            )
            raise RateLimitError(f"{self.name}: {request} is to wait {wait:.0f} s", wait)
        if status >= 300 and status not in accept:
            raise PermanentError(f"{self.name}: {request} answered {status}", self._refusal_code)
        if status < 300 and answer.body is None and status != 204:
            raise self._failure(f"{request} answered {status} without JSON", is_certain=idempotent)
        return answer

    def _classify_failure(self, failure: Exception, request: str, *, idempotent: bool) -> Exception:
        """Return our error for a request without an answer, and report it to the breaker."""
        how = type(failure).__name__
        if isinstance(failure, (*_NO_ADDRESS, httpx.LocalProtocolError)):
            is_address = isinstance(failure, _NO_ADDRESS)
            setting = self._settings.url if is_address else self._settings.key
            self._breaker.refused(Cause(how, "it cannot be used as configured", setting))
            return self._outage()
        if not isinstance(failure, httpx.PoolTimeout):  # our own lack of connections
            self._breaker.failed(Cause(how))
        if isinstance(failure, _NEVER_SENT):
            return self._failure(f"{request} could not be sent ({how})", is_certain=True)
        return self._failure(
            f"{request} was sent, but its answer was lost ({how})", is_certain=idempotent
        )

    def _failure(self, what: str, *, is_certain: bool) -> ExternalServiceError:
        kind = ExternalServiceError if is_certain else OutcomeUnknownError
        return kind(self.name, what, silent_s=self._breaker.silent_s)


def _is_turned_away(answer: Answer) -> bool:
    """Whether a server names the time at which to come back (RFC 9110, 15.6.4)."""
    return answer.status == 503 and "retry-after" in answer.headers
