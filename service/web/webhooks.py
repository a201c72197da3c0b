"""Receive the webhooks of the channels: authenticate, parse, store, and only then answer 2xx.

Telegram repeats an update that is not answered 2xx for 24 hours, and sends nothing else of that
chat meanwhile. So events that are not for us, or too large, are answered 200 ``ignored``. An error
means: send it again.
"""

from collections.abc import Callable
from typing import Any

import falcon
import structlog

from mirt.channels import Channel, Ignored, InboundMessage, ReachabilityChange
from mirt.channels.webhook import event_id
from mirt.errors import ErrorCode, PermanentError, RateLimitError, RetryableError
from mirt.observe import metrics
from service.web.bodies import LONGEST_EVENT, BodyTooLargeError, drain, read_json

log = structlog.get_logger(__name__)

Dispatch = Callable[..., dict[str, Any]]
"""A function with the signature and promises of ``service.dispatcher.dispatch_message``."""


Record = Callable[[ReachabilityChange], None]
"""A function with the promises of ``mirt.reachability.Reachability.record``."""


class Webhook:
    """The route that one channel calls."""

    def __init__(self, channel: Channel, dispatch: Dispatch, record: Record) -> None:
        self._channel = channel
        self._dispatch = dispatch
        self._record = record

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Handle one event.

        Answers ``{"status": "accepted"}`` when the message is stored, with ``"duplicate": true`` if
        it was stored before, and ``{"status": "ignored", "kind": …}`` for events not for us.
        """
        outcome = "failed"
        try:
            outcome = self._handle(req, resp)
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

    def _handle(self, req: falcon.Request, resp: falcon.Response) -> str:
        """Store or ignore the event; return the outcome as a label value."""
        # Before the body, so that a sender without the secret cannot make us read and parse.
        if not self._channel.authenticate(req.headers):
            raise falcon.HTTPUnauthorized
        try:
            event = self._channel.parse(read_json(req, longest=LONGEST_EVENT))
        except BodyTooLargeError as refused:
            log.warning("event_too_large", event_id=event_id(drain(req, refused)))
            event = Ignored("too_large")
        kind = event.kind if isinstance(event, Ignored) else None
        if isinstance(event, InboundMessage):
            try:
                resp.media = self._accept(event)
            except PermanentError as refused:
                if refused.error_code != ErrorCode.EMPTY_MESSAGE:
                    raise
                kind = "empty"
        if isinstance(event, ReachabilityChange):
            self._record(event)
            resp.media = {"status": "accepted"}
        if kind is not None:
            log.info("ignored", kind=kind)
            resp.media = {"status": "ignored", "kind": kind}
            return "ignored"
        return "duplicate" if "duplicate" in resp.media else "accepted"

    def _accept(self, message: InboundMessage) -> dict[str, Any]:
        answer = self._dispatch(
            message.session_id,
            message.text,
            platform=message.platform,
            chat_id=message.chat_id,
            user_id=message.user_id,
            message_id=message.message_id,
            metadata=dict(message.metadata),
            fire_and_forget=True,
        )
        duplicate = {"duplicate": True} if answer.get("duplicate") else {}
        return {"status": "accepted", **duplicate}
