"""Talk to ManyChat's API: take the requests of flows, send content, set fields and tags."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import SecretStr

from mirt.channels.manychat.events import Event
from mirt.channels.manychat.platforms import Address, Platform
from mirt.channels.protocol import InboundMessage, Marks, Receipt, ignore
from mirt.channels.splitting import sendable
from mirt.channels.webhook import header, present, same_secret
from mirt.errors import ErrorCode, OutcomeUnknownError, PermanentError
from mirt.http import (
    CHECK_S,
    Answer,
    ExternalService,
    Refusal,
    ServiceReport,
    SettingNames,
)
from mirt.http.download import download
from mirt.store.shared.rate_limits import RateLimiter

MOST_BUBBLES: Final = 10
"""Bubbles that ManyChat takes in one request."""
_PAGE_INFO: Final = "/fb/page/getInfo"


class ManyChatChannel:
    """One ManyChat account. All processes that send share its rate limits.

    ``token`` is the secret that flows send in every webhook. ``None`` accepts every webhook, which
    only the embedded mode may do; an empty token accepts none.
    """

    name = "manychat"

    def __init__(
        self,
        *,
        api_key: SecretStr,
        token: SecretStr | None,
        api_url: str = "https://api.manychat.com",
        default_platform: Platform = Platform.INSTAGRAM,
        timeout: float = 20,
        max_connections: int = 32,
        send_rate: RateLimiter | None = None,
        mark_rate: RateLimiter | None = None,
    ) -> None:
        """Take the platform of events that name none, and the seconds that one request may last.

        ``send_rate`` and ``mark_rate`` are the rate limiters of the account: above its limits,
        ManyChat may refuse requests for 24 hours. Without them requests are sent at once.
        """
        self._send_rate = send_rate
        self._mark_rate = mark_rate
        self._token = token
        self._default = default_platform
        self._api = ExternalService(
            "manychat",
            api_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=timeout,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            settings=SettingNames("MANYCHAT_API_KEY", "MANYCHAT_API_URL"),
            account_refusal=_account_refusal,
            check=("GET", _PAGE_INFO),
            max_connections=max_connections,
        )

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook has the token, in ManyChat's header or as a bearer token."""
        if self._token is None:
            return True
        in_header = same_secret(header(headers, "X-ManyChat-Token"), self._token)
        scheme, _, bearer = header(headers, "Authorization").partition(" ")
        return in_header | (same_secret(bearer, self._token) and scheme.lower() == "bearer")

    def parse(self, payload: object) -> InboundMessage:
        """Map one request of a flow. The subscriber is the session.

        ``content_key`` is always present. It is the same for the same text and files of the same
        subscriber.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
        """
        event = Event(payload)
        address = Address(event.subscriber_id, Platform.of(event.kind) or self._default)
        return InboundMessage(
            session_id=event.subscriber_id,
            text=event.text,
            platform=self.name,
            chat_id=address.write(self._default),
            user_id=event.subscriber_id,
            message_id=event.message_id,
            metadata=present(
                content_key=event.content_key,
                photo={"url": event.photo} if event.photo else None,
                unread=event.unread or None,
                username=event.username,
                first_name=event.name,
            ),
        )

    def prepare(self) -> None:
        """Do nothing: a request of a flow says all that is needed."""

    def messaging_window(self, chat_id: str) -> timedelta | None:
        """Return the window of the subscriber's platform."""
        return self._address(chat_id).platform.messaging_window

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the account: its limits are shared by all chats."""
        return self.name

    def split(self, text: str, chat_id: str = "") -> list[str]:
        """Return the parts of a reply, each sent as at most ``MOST_BUBBLES`` bubbles at once."""
        whole = sendable(text)
        bubbles = self._address(chat_id).platform.bubbles(whole)
        ends, parts = [0], []
        for bubble in bubbles:
            ends.append(whole.index(bubble, ends[-1]) + len(bubble))
        for first in range(0, len(bubbles), MOST_BUBBLES):
            last = min(first + MOST_BUBBLES, len(bubbles))
            parts.append(whole[ends[first] : ends[last]].strip())
        return parts

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part. ManyChat has no replies to a message, and returns no message id."""
        address = self._address(chat_id)
        content: dict[str, Any] = present(
            type=address.platform.content_type,
            messages=[{"type": "text", "text": text} for text in address.platform.bubbles(part)],
        )
        body = {
            "subscriber_id": address.subscriber,
            "data": {"version": "v2", "content": content},
        }
        self._wait_for(self._send_rate)
        self._ask("/fb/sending/sendContent", body)
        return Receipt(provider_message_id=None, chat_id=chat_id)

    def mark(
        self, chat_id: str, marks: Marks, *, done: int = 0, report: Callable[[int], None] = ignore
    ) -> None:
        """Remove the tags, then set the fields and tags of a subscriber."""
        calls = [
            *(("removeTagByName", {"tag_name": tag}) for tag in marks.remove_tags),
            *(
                ("setCustomFieldByName", {"field_name": name, "field_value": value})
                for name, value in marks.fields.items()
            ),
            *(("addTagByName", {"tag_name": tag}) for tag in marks.add_tags),
        ]
        subscriber = self._address(chat_id).subscriber
        for number, (name, arguments) in enumerate(calls[done:], start=done + 1):
            self._wait_for(self._mark_rate)
            body = {"subscriber_id": subscriber, **arguments}
            self._ask(f"/fb/subscriber/{name}", body, idempotent=True)
            report(number)

    def check(self) -> ServiceReport:
        """Return the name of the page that the key belongs to.

        Raises:
            OutageError, ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        answer = self._api.call(
            "GET", _PAGE_INFO, idempotent=True, accept=range(400, 500), timeout=CHECK_S
        )
        _require_success(answer)
        page = answer.body.get("data")
        name = page.get("name") if isinstance(page, dict) else None
        return ServiceReport(f"the page {name}" if name else "a page without a name")

    def fetch_picture(self, source: Mapping[str, Any], *, largest: int, within_s: float) -> bytes:
        """Return the picture at the URL of the event, which must be public: customers can name any.

        Raises:
            WorkerError: it is not there, larger, or at an address that is not public.
        """
        url = SecretStr(str(source.get("url", "")))
        return download("manychat", url, largest=largest, within_s=within_s, public_only=True)

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._api.close()

    def _address(self, chat_id: str) -> Address:
        return Address.read(chat_id, self._default)

    def _wait_for(self, rate_limiter: RateLimiter | None) -> None:
        if rate_limiter is not None:
            # Opened first: calls that waited for it after the limiter would be sent in one burst.
            self._api.open()
            rate_limiter.wait()

    def _ask(self, path: str, body: Mapping[str, Any], *, idempotent: bool = False) -> None:
        _require_success(
            self._api.call("POST", path, json=body, idempotent=idempotent, accept=range(400, 500))
        )


def _require_success(answer: Answer) -> None:
    # ManyChat may refuse with any status, 200 included.
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status >= 400 or body.get("status") == "error":
        said = f"manychat: {answer.status} {_reason(answer)}"
        raise PermanentError(said, ErrorCode.CHANNEL_REFUSED)
    if body.get("status") != "success":
        raise OutcomeUnknownError("manychat", f"answered {answer.status} without success")


def _account_refusal(answer: Answer) -> Refusal | None:
    return Refusal("401", _reason(answer)) if answer.status == 401 else None


def _reason(answer: Answer) -> str:
    body = answer.body if isinstance(answer.body, dict) else {}
    reasons = [str(body[key]) for key in ("message", "details") if body.get(key)]
    return answer.without_quotes("; ".join(reasons))[:300] or "no reason given"
