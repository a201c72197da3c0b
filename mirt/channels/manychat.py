"""Receive and send messages of Instagram and Messenger through ManyChat.

Source of its facts: https://api.manychat.com/swagger.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator

from mirt.channels.protocol import InboundMessage, Marks, Receipt
from mirt.channels.splitting import split_text
from mirt.channels.webhook import (
    Payload,
    Text,
    header,
    invalid,
    present,
    read_payload,
    same_secret,
)
from mirt.errors import ErrorCode, OutcomeUnknownError, PermanentError
from mirt.http import Answer, ExternalService, Refusal, SettingNames
from mirt.store.shared.rate_limits import RateLimiter

LONGEST_BUBBLE: Final = 2000
"""UTF-16 code units that ManyChat takes in one bubble."""
MOST_BUBBLES: Final = 10
"""Bubbles that ManyChat takes in one request."""


def _named(*names: str) -> Any:
    return Field(None, validation_alias=AliasChoices(*names))


def _as_text(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


Name = Annotated[Text, BeforeValidator(_as_text), Field(min_length=1, max_length=255)]
"""Id of a subscriber or a message; flows send it as text or as a number."""


class _Part(Payload):
    """A part in which ``null`` counts as absent, so that the other spelling of a field is used."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if item is not None}


class _Subscriber(_Part):
    id: Name | None = _named("id", "user_id")
    name: Text | None = None
    username: Text | None = _named("username", "instagram_username")


class _Link(_Part):
    url: Text | None = None


class _Attachment(_Part):
    type: Text | None = None
    payload: _Link | None = None


class _Message(_Part):
    id: Name | None = _named("id", "message_id")
    text: Text | None = _named("text", "content")
    image: Text | None = _named("image", "image_url")
    attachments: list[_Attachment] = Field(default_factory=list)

    @property
    def photo(self) -> str | None:
        """URL of the image of the message."""
        images = [attached for attached in self.attachments if attached.type == "image"]
        links = [attached.payload.url for attached in images if attached.payload]
        return next((url for url in [self.image, *links] if url), None)


def _plain_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


_AnyMessage = Annotated[_Message, BeforeValidator(_plain_text)]


class _Data(_Part):
    message: _AnyMessage | None = None


class _Event(_Part):
    """Both shapes of an event: ``subscriber`` with an object, or ``clientId`` with a text."""

    subscriber: _Subscriber = Field(
        _Subscriber(), validation_alias=AliasChoices("subscriber", "user")
    )
    client_id: Name | None = _named("clientId", "sessionId")
    message: _AnyMessage = _Message()
    data: _Data = _Data()
    image: Text | None = _named("image_url")
    event_id: Name | None = _named("message_id", "event_id")


class ManyChatChannel:
    """One ManyChat account. All processes that send share its rate limits.

    ``token`` is the secret that flows send in every webhook. ``None`` accepts every webhook, which
    only the embedded mode may do; an empty token accepts none.
    """

    name = "manychat"
    messaging_window: timedelta | None = timedelta(hours=24)
    """Meta's rule for Instagram, Messenger and WhatsApp."""

    def __init__(
        self,
        *,
        api_key: SecretStr,
        token: SecretStr | None,
        api_url: str = "https://api.manychat.com",
        content_type: str | None = "instagram",
        timeout: float = 20,
        max_connections: int = 32,
        send_rate: RateLimiter | None = None,
        mark_rate: RateLimiter | None = None,
    ) -> None:
        """Take the platform of the messages (``None``: Messenger) and the seconds of a request.

        ``send_rate`` and ``mark_rate`` are the rate limiters of the account: above its limits,
        ManyChat may refuse requests for 24 hours. Without them requests are sent at once.
        """
        self._send_rate = send_rate
        self._mark_rate = mark_rate
        self._token = token
        self._content_type = content_type
        self._api = ExternalService(
            "manychat",
            api_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=timeout,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            settings=SettingNames("MANYCHAT_API_KEY", "MANYCHAT_API_URL"),
            account_refusal=_account_refusal,
            check=("GET", "/fb/page/getInfo"),
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
        """Map one request of a flow. The subscriber is the session and the chat.

        ``content_key`` is always present. It is the same for the same text and image of the same
        subscriber.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
        """
        event = read_payload(_Event, payload)
        candidates = (event.message, event.data.message)
        message = next((one for one in candidates if one and _has_content(one)), None)
        photo = event.image or (message.photo if message else None)
        subscriber_id = event.subscriber.id or event.client_id
        if not subscriber_id or (message is None and photo is None):
            missing = [] if subscriber_id else ["subscriber.id"]
            missing += ["message.text"] if message is None and photo is None else []
            raise invalid([f"{field}: Field required" for field in missing])
        text = (message.text if message else None) or ""
        message_id = event.message.id or (message.id if message else None) or event.event_id
        return InboundMessage(
            session_id=subscriber_id,
            text=text,
            platform=self.name,
            chat_id=subscriber_id,
            user_id=subscriber_id,
            message_id=message_id,
            metadata=present(
                content_key=_digest(subscriber_id, text, photo),
                photo={"url": photo} if photo else None,
                username=event.subscriber.username,
                first_name=event.subscriber.name,
            ),
        )

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the account: its limits are shared by all chats."""
        return self.name

    def split(self, text: str) -> list[str]:
        """Return the reply as one part, sent as bubbles of one request, or a part for each bubble.

        A reply with more than ``MOST_BUBBLES`` bubbles has a part for each of them.
        """
        bubbles = split_text(text, LONGEST_BUBBLE)
        return [text.strip()] if 0 < len(bubbles) <= MOST_BUBBLES else bubbles

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part. ManyChat has no replies to a message, and returns no message id."""
        content: dict[str, Any] = present(
            type=self._content_type,
            messages=[{"type": "text", "text": t} for t in split_text(part, LONGEST_BUBBLE)],
        )
        body = {"subscriber_id": chat_id, "data": {"version": "v2", "content": content}}
        self._wait_for(self._send_rate)
        self._ask("/fb/sending/sendContent", body)
        return Receipt(provider_message_id=None, chat_id=chat_id)

    def mark(self, chat_id: str, marks: Marks) -> None:
        """Set the fields and the tags of a subscriber. A second call changes nothing."""
        calls = [
            *(
                ("setCustomFieldByName", {"field_name": name, "field_value": value})
                for name, value in marks.fields.items()
            ),
            *(("addTagByName", {"tag_name": tag}) for tag in marks.add_tags),
            *(("removeTagByName", {"tag_name": tag}) for tag in marks.remove_tags),
        ]
        for name, arguments in calls:
            self._wait_for(self._mark_rate)
            body = {"subscriber_id": chat_id, **arguments}
            self._ask(f"/fb/subscriber/{name}", body, idempotent=True)

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._api.close()

    def _wait_for(self, rate_limiter: RateLimiter | None) -> None:
        if rate_limiter is not None:
            # Opened first: calls that waited for it after the limiter would be sent in one burst.
            self._api.open()
            rate_limiter.wait()

    def _ask(self, path: str, body: Mapping[str, Any], *, idempotent: bool = False) -> None:
        _require_success(
            self._api.call("POST", path, json=body, idempotent=idempotent, accept=range(400, 500))
        )


def _has_content(message: _Message) -> bool:
    return message.text is not None or message.photo is not None


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


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
    return "; ".join(reasons)[:300] or "no reason given"
