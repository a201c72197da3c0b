"""Receive the webhooks of the channels: authenticate, parse, store, and only then answer 2xx.

Telegram repeats an update that is not answered 2xx for 24 hours, and sends nothing else of that
chat meanwhile. So events that are not for us are answered 200 ``ignored``. An error means: send it
again.
"""

from collections.abc import Awaitable, Callable

import falcon
import falcon.asgi
import structlog

from mirt.channels import Channel, Ignored, InboundMessage
from mirt.errors import ErrorCode, PermanentError, RateLimitError, RetryableError
from mirt.observe import metrics
from service.web.bodies import read_json_async

log = structlog.get_logger(__name__)

Accept = Callable[[InboundMessage], Awaitable[bool]]
"""Stores a message, and returns whether it was stored before. Raises as ``dispatch_message``."""


class Webhook:
    """The route that one channel calls."""

    def __init__(self, channel: Channel, accept: Accept) -> None:
        self._channel = channel
        self._accept = accept

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
        event = self._channel.parse(await read_json_async(req))
        if isinstance(event, Ignored):
            return _ignore(resp, event.kind)
        try:
            is_duplicate = await self._accept(event)
        except PermanentError as refused:
            if refused.error_code != ErrorCode.EMPTY_MESSAGE:
                raise
            return _ignore(resp, "empty")
        resp.media = {"status": "accepted", **({"duplicate": True} if is_duplicate else {})}
        return "duplicate" if is_duplicate else "accepted"


def _ignore(resp: falcon.asgi.Response, kind: str) -> str:
    log.info("ignored", kind=kind)
    resp.media = {"status": "ignored", "kind": kind}
    return "ignored"
