"""Receive the webhooks of the channels: authenticate, parse, store, and only then answer 2xx.

Telegram repeats an update that is not answered 2xx for 24 hours, and sends nothing else of that
chat meanwhile. So events that are not for us, or too large, are answered 200 ``ignored``. An error
means: send it again.
"""

import asyncio
from collections.abc import Awaitable, Callable

import falcon
import falcon.asgi
import structlog

from mirt.channels import Channel, Ignored, InboundMessage, ReachabilityChange
from mirt.channels.webhook import event_id
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    PermanentError,
    RateLimitError,
    RetryableError,
)
from mirt.observe import metrics
from service.web.bodies import BodyTooLargeError, drain, read_event
from service.web.request_log import join_caller

log = structlog.get_logger(__name__)

Accept = Callable[[InboundMessage], Awaitable[bool]]
"""Stores a message, and returns whether it was stored before. Raises as ``dispatch_message``."""


Record = Callable[[ReachabilityChange], Awaitable[None]]
"""Stores a change with the promises of ``mirt.reachability.Reachability.record``."""


class Webhook:
    """The route that one channel calls."""

    def __init__(self, channel: Channel, accept: Accept, record: Record) -> None:
        self._channel = channel
        self._accept = accept
        self._record = record

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Handle one event.

        Answers ``{"status": "accepted"}`` when the message is stored, with ``"duplicate": true`` if
        it was stored before, and ``{"status": "ignored", "kind": …}`` for events not for us.
        """
        outcome = "failed"
        try:
            outcome = await self._handle(req, resp)
        except (falcon.HTTPError, PermanentError):
            outcome = "refused"
            raise
        except RateLimitError:
            outcome = "shed"
            raise
        except RetryableError:
            outcome = "unavailable"
            raise
        finally:
            metrics.WEBHOOKS.inc(channel=self._channel.name, outcome=outcome)

    async def _handle(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> str:
        """Store or ignore the event; return the outcome as a label value."""
        # Before the body, so that a sender without the secret cannot make us read and parse.
        if not self._channel.authenticate(req.headers):
            raise falcon.HTTPUnauthorized
        join_caller(req, resp)
        try:
            event = await self._parse(await read_event(req))
        except BodyTooLargeError as refused:
            log.warning("event_too_large", event_id=event_id(await drain(req, refused)))
            return _ignore(resp, "too_large")
        if isinstance(event, Ignored):
            return _ignore(resp, event.kind)
        if isinstance(event, ReachabilityChange):
            await self._record(event)
            resp.media = {"status": "accepted"}
            return "accepted"
        try:
            is_duplicate = await self._accept(event)
        except PermanentError as refused:
            if refused.error_code != ErrorCode.EMPTY_MESSAGE:
                raise
            return _ignore(resp, "empty")
        resp.media = {"status": "accepted", **({"duplicate": True} if is_duplicate else {})}
        return "duplicate" if is_duplicate else "accepted"

    async def _parse(self, payload: object) -> InboundMessage | ReachabilityChange | Ignored:
        try:
            return self._channel.parse(payload)
        except ExternalServiceError:
            # Only now, since most events need nothing that has to be asked for.
            await asyncio.get_running_loop().run_in_executor(None, self._channel.prepare)
            return self._channel.parse(payload)


def _ignore(resp: falcon.asgi.Response, kind: str) -> str:
    log.info("ignored", kind=kind)
    resp.media = {"status": "ignored", "kind": kind}
    return "ignored"
