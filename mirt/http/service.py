"""One service outside, asked over HTTP, whose answers and failures become ours."""

import time
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, Final

import httpx
from pydantic import SecretStr

from mirt import clock
from mirt.errors import (
    CooldownError,
    ErrorCode,
    ExternalServiceError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    SoftTimeLimitExceeded,
)
from mirt.http.answer import Answer, bounded, read_retry_after
from mirt.http.breaker import Breaker
from mirt.http.network import request_deadline
from mirt.http.pool import AnswerTooLargeError, Pool
from mirt.observe import traces

_EARLY: Final = 0.01  # a socket may give up this many seconds before the end it was given
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_SENDABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


class ExternalService:
    """One service outside: a bounded pool of kept-alive connections, usable from any thread.

    The pool is opened by the first call, in the process that makes it. Every request is over
    within ``timeout`` seconds and by the deadline of the work (``mirt.clock``), however slowly
    the bytes come. After five failures in a row calls fail at once, but for one in three seconds;
    answers of 4xx, 429 among them, are no failures of the service.

    Neither ``base_url``, which may hold a token, nor a header, nor anything the HTTP client says
    of a request gets into an error or a log; where an answer repeats one of ``secrets``, the
    adapter sees asterisks.
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
        breaker: bool = True,
        max_connections: int = 64,
    ) -> None:
        """Take the seconds a whole request may last and the code its refusals carry.

        ``retry_after`` reads from a 429 the seconds to wait, where the header does not say them.
        """
        self.name = name
        self._timeout = timeout
        self._refusal_code = refusal_code
        self._retry_after = retry_after
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
    ) -> Answer:
        """Send one request, once; redirects are not followed.

        ``idempotent`` says that doing it twice does no harm, so that an answer that got lost is
        no more than a failure. ``accept`` names refusals (4xx but 429) that the caller reads
        itself. ``timeout`` replaces that of the service. ``path`` may hold no secret.

        Raises:
            RateLimitError: on 429; ``retry_after`` is between a second and an hour.
            CooldownError: not sent, since the service keeps failing.
            OutcomeUnknownError: the request left and no answer that makes sense came back.
            ExternalServiceError: it was not sent, or the service answered 5xx.
            PermanentError: the service refused it; with the refusal code.
            SoftTimeLimitExceeded: the deadline of the work passed before the answer was there.
        """
        what = f"{method} {path}"
        seconds = self._timeout if timeout is None else timeout
        left = clock.remaining(seconds)
        if (rest := self._breaker.wait_s()) > 0:
            # A wait, no attempt: nothing was tried, so no retry is used up.
            raise CooldownError(f"{self.name}: {what} not sent: it keeps failing", rest)
        about = {"peer.service": self.name, "http.request.method": method, "url.template": path}
        with traces.span(f"{method} {self.name}", "client", about) as sent:
            answer = self._sent(method, path, json, params, seconds, left, idempotent=idempotent)
            sent.set_attributes({"http.response.status_code": answer.status})
            return self._judged(answer, what, accept, idempotent=idempotent)

    def _sent(
        self,
        method: str,
        path: str,
        json: Any,
        params: Mapping[str, str] | None,
        seconds: float,
        left: float,
        *,
        idempotent: bool,
    ) -> Answer:
        end = time.monotonic() + left
        failure: Exception
        try:
            with request_deadline(end):
                return self._pool.exchange(method, path, json=json, params=params, within_s=left)
        except (httpx.HTTPError, httpx.InvalidURL, AnswerTooLargeError) as error:
            failure = error
        # Raised from here, outside of the except: the client's error holds the URL and headers.
        if left < seconds and time.monotonic() >= end - _EARLY:
            raise SoftTimeLimitExceeded
        raise self._failed(failure, f"{method} {path}", idempotent=idempotent)

    def open(self) -> None:
        """Open the pool now. Whoever has waited for the moment to call is not to wait for it then.

        Reading the certificates takes longer than most requests, and every first call waits for it.
        """
        self._pool.open()

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._pool.close()

    def _judged(
        self, answer: Answer, what: str, accept: Collection[int], *, idempotent: bool
    ) -> Answer:
        status = answer.status
        if status >= 500:
            self._breaker.failed()
            raise ExternalServiceError(self.name, f"{what} answered {status}")
        self._breaker.heard()
        if status == 429:
            named = self._retry_after(answer)
            wait = (
                read_retry_after(answer.headers.get("retry-after"), clock.utc_now())
                if named is None
                else bounded(named)
            )
            raise RateLimitError(f"{self.name}: {what} is to wait {wait:.0f} s", wait)
        if status == 408:
            raise ExternalServiceError(self.name, f"{what} answered {status}")
        if status >= 300 and status not in accept:
            raise PermanentError(f"{self.name}: {what} answered {status}", self._refusal_code)
        if status < 300 and answer.body is None and status != 204:
            kind = ExternalServiceError if idempotent else OutcomeUnknownError
            raise kind(self.name, f"{what} answered {status} without JSON")
        return answer

    def _failed(self, failure: Exception, what: str, *, idempotent: bool) -> Exception:
        how = type(failure).__name__
        if isinstance(failure, _NEVER_SENDABLE):
            return PermanentError(
                f"{self.name}: {what} cannot be sent as configured ({how})", self._refusal_code
            )
        if not isinstance(failure, httpx.PoolTimeout):  # that is our own lack of connections
            self._breaker.failed()
        if isinstance(failure, _NEVER_SENT):
            return ExternalServiceError(self.name, f"{what} could not be sent ({how})")
        kind = ExternalServiceError if idempotent else OutcomeUnknownError
        return kind(self.name, f"{what} was sent, but its answer was lost ({how})")
