"""Tell the staff that a customer asks for a person, in a chat of Telegram or by a webhook."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog
from pydantic import SecretStr

from mirt.clock import Clock
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, PermanentError
from mirt.http import ExternalService, SettingNames
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.reports.search import Conversation, conversation
from mirt.store.shop import webhooks
from mirt.store.shop.deliveries import STAFF, Delivery, DeliveryState, add_delivery
from mirt.webhooks import public_url

log = structlog.get_logger(__name__)

NOTICE: Final = "{customer} чекає на людину: {reason}\n{where}"
TIMEOUT_S: Final = 10.0


class StaffWebhook:
    """The address that gets a POST with JSON. It may get one twice, with the same ``id``."""

    def __init__(self, url: SecretStr) -> None:
        parts = urlsplit(url.get_secret_value())
        self._path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        self._api = ExternalService(
            "staff",
            SecretStr(f"{parts.scheme}://{parts.netloc}"),
            secrets=[SecretStr(self._path)] if self._path != "/" else [],
            timeout=TIMEOUT_S,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            settings=SettingNames("STAFF_WEBHOOK_URL", "STAFF_WEBHOOK_URL"),
            max_connections=2,
        )

    def post(self, what: Mapping[str, Any]) -> None:
        """Send one document.

        Raises:
            RateLimitError, ExternalServiceError: a later attempt may succeed.
            PermanentError: CHANNEL_REFUSED, with the answer.
        """
        self._api.call(
            "POST", self._path, json=dict(what), idempotent=True, shown_as="STAFF_WEBHOOK_URL"
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


class Staff:
    """The people of the shop, as far as they have a chat or a webhook."""

    def __init__(
        self,
        database: Database,
        deliveries: Deliveries,
        clock: Clock,
        *,
        chat_id: str | None = None,
        webhook: StaffWebhook | None = None,
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock
        self._chat_id = chat_id
        self._webhook = webhook

    def tell(self, lease: Lease, session_id: str, reason: str) -> dict[str, Any]:
        """Tell the staff once that the customer of this conversation asks for a person.

        Return the result of the task: ``told`` and where, or ``skipped`` with a reason.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Deliveries.deliver`` and
                ``StaffWebhook.post``. The next attempt tells only those that were not told.
            LeaseLostError: another worker has the task.
        """
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            about = conversation(tx, session_id)
            base = public_url(webhooks.read(tx))
        if about is None or (self._chat_id is None and self._webhook is None):
            why = "no_conversation" if about is None else "no_staff"
            return {"status": "skipped", "session_id": session_id, "reason": why}
        page = f"{base}/ops/trace?id={quote(session_id, safe='')}" if base else None
        told = []
        if self._chat_id is not None:
            self._write(lease, self._chat_id, about, reason, page)
            told.append("chat")
        if self._webhook is not None:
            self._webhook.post(_document(lease, about, reason, page))
            told.append("webhook")
        log.info("staff_told", session_id=session_id, by=told)
        return {"status": "told", "session_id": session_id, "by": told}

    def _write(
        self, lease: Lease, chat_id: str, about: Conversation, reason: str, page: str | None
    ) -> None:
        customer = about.customer_name or f"Покупець {about.session_id}"
        where = page or f"mirt takeover {about.session_id}"
        notice = Delivery(
            id=lease.task_id,
            session_id=STAFF,  # not the customer's, who is silent here and may not be reached
            platform="telegram",
            chat_id=chat_id,
            text=NOTICE.format(customer=customer, reason=reason, where=where),
            trace_id=lease.trace_id,
        )
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            add_delivery(tx, notice, now=self._clock())
        if self._deliveries.deliver(lease, notice.id)["status"] != DeliveryState.SENT:
            why = "STAFF_CHAT_ID: the bot may not write to this chat; is it a member?"
            raise PermanentError(why, ErrorCode.CHANNEL_REFUSED)


def _document(lease: Lease, about: Conversation, reason: str, page: str | None) -> dict[str, Any]:
    return {
        "event": "person_asked",
        "id": lease.task_id,
        "session_id": about.session_id,
        "platform": about.platform,
        "customer_name": about.customer_name,
        "reason": reason,
        "url": page,
    }
