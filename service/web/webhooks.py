"""What the channels bring: authenticated, understood, kept, and only then answered with 2xx.

Telegram sends whatever is not answered with 2xx again for 24 hours, and nothing else of that chat
meanwhile. So what is not for us is answered 200 ``ignored``, and an error means: send it again.
"""

from collections.abc import Callable
from typing import Any

import falcon
import structlog

from mirt.channels import Channel, Ignored, InboundMessage
from mirt.errors import ErrorCode, PermanentError, RateLimitError, RetryableError
from mirt.observe import metrics
from service.web.bodies import read_json

log = structlog.get_logger(__name__)

Dispatch = Callable[..., dict[str, Any]]
"""Has the signature, and keeps the promises, of ``service.dispatcher.dispatch_message``."""


class Webhook:
    """The address that one channel calls."""

    def __init__(self, channel: Channel, dispatch: Dispatch) -> None:
        self._channel = channel
        self._dispatch = dispatch

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take one event.

        Answers ``{"status": "accepted"}`` once the message is kept, with ``"duplicate": true`` if
        it was before, and ``{"status": "ignored", "kind": …}`` for what is not for us.
        """
        outcome = "failed"
        try:
            outcome = self._take(req, resp)
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

    def _take(self, req: falcon.Request, resp: falcon.Response) -> str:
        """How it went, in a word."""
        # Before the body: nobody who does not know the secret makes us read and parse.
        if not self._channel.authenticate(req.headers):
            raise falcon.HTTPUnauthorized
        event = self._channel.parse(read_json(req))
        kind = event.kind if isinstance(event, Ignored) else None
        if isinstance(event, InboundMessage):
            try:
                resp.media = self._accept(event)
            except PermanentError as refused:
                if refused.error_code != ErrorCode.EMPTY_MESSAGE:
                    raise
                kind = "empty"
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
        again = {"duplicate": True} if answer.get("duplicate") else {}
        return {"status": "accepted", **again}
