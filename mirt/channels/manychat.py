"""ManyChat, both directions: Instagram and Messenger, https://api.manychat.com/swagger."""

import hashlib
import json
from collections.abc import Mapping
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
from mirt.http import Answer, ExternalService
from mirt.store.shared.rate_limits import RateLimiter

LONGEST_BUBBLE: Final = 2000
MOST_BUBBLES: Final = 10
"""Characters of one bubble, and bubbles of one request, that ManyChat takes."""


def _named(*names: str) -> Any:
    return Field(None, validation_alias=AliasChoices(*names))


def _as_text(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


Name = Annotated[Text, BeforeValidator(_as_text), Field(min_length=1, max_length=255)]
"""What names a subscriber or a message; flows send it as text or as a number."""


class _Part(Payload):
    """A ``null`` counts as absent, so that the other spelling of a field is looked for."""

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
        """The URL of its image."""
        links = [one.payload.url for one in self.attachments if one.type == "image" and one.payload]
        return next((url for url in [self.image, *links] if url), None)


def _plain_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


_AnyMessage = Annotated[_Message, BeforeValidator(_plain_text)]


class _Data(_Part):
    message: _AnyMessage | None = None


class _Event(_Part):
    """Both shapes in one: with ``subscriber`` and an object, or ``clientId`` and a text."""

    subscriber: _Subscriber = Field(
        _Subscriber(), validation_alias=AliasChoices("subscriber", "user")
    )
    client_id: Name | None = _named("clientId", "sessionId")
    message: _AnyMessage = _Message()
    data: _Data = _Data()
    image: Text | None = _named("image_url")
    event_id: Name | None = _named("message_id", "event_id")


class ManyChatChannel:
    """One account, of whose limits the other processes that send use their part too.

    ``token`` is what the flows send in every webhook; ``None`` accepts every webhook, which only
    the embedded mode may ask for, and an empty one accepts none.
    """

    name = "manychat"

    def __init__(
        self,
        *,
        api_key: SecretStr,
        token: SecretStr | None,
        api_url: str = "https://api.manychat.com",
        content_type: str | None = "instagram",
        timeout: float = 20,
        max_connections: int = 32,
        sending: RateLimiter | None = None,
        marking: RateLimiter | None = None,
    ) -> None:
        """Take the key, the platform that contents are for (``None``: Messenger), and seconds.

        ``sending`` and ``marking`` are the paces of the account: over its limits ManyChat may stop
        answering for 24 hours. Without one nothing is waited for.
        """
        self._sending = sending
        self._marking = marking
        self._token = token
        self._content_type = content_type
        self._api = ExternalService(
            "manychat",
            api_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=timeout,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            max_connections=max_connections,
        )

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook brings the token, in its own header or as a bearer."""
        if self._token is None:
            return True
        own = same_secret(header(headers, "X-ManyChat-Token"), self._token)
        scheme, _, bearer = header(headers, "Authorization").partition(" ")
        return own | (same_secret(bearer, self._token) and scheme.lower() == "bearer")

    def parse(self, payload: object) -> InboundMessage:
        """Map one request of a flow; its session and its chat are the subscriber.

        ``dedup_key`` is there only if the flow sends an id; ``content_key`` always is, and is the
        same for the same text and image of the same subscriber.
        """
        event = read_payload(_Event, payload)
        said = next((m for m in (event.message, event.data.message) if m and _says(m)), None)
        photo = event.image or (said.photo if said else None)
        who = event.subscriber.id or event.client_id
        if not who or (said is None and photo is None):
            missing = [] if who else ["subscriber.id"]
            missing += ["message.text"] if said is None and photo is None else []
            raise invalid([f"{field}: Field required" for field in missing])
        text = (said.text if said else None) or ""
        message_id = event.message.id or (said.id if said else None) or event.event_id
        return InboundMessage(
            session_id=who,
            text=text,
            platform=self.name,
            chat_id=who,
            user_id=who,
            message_id=message_id,
            metadata=present(
                dedup_key=f"{who}:{message_id}" if message_id else None,
                content_key=_digest(who, text, photo),
                photo={"url": photo} if photo else None,
                username=event.subscriber.username,
                first_name=event.subscriber.name,
            ),
        )

    def rate_limit_scope(self, chat_id: str) -> str:
        """The limits are those of the account."""
        return self.name

    def split(self, text: str) -> list[str]:
        """The whole reply as one part, whose bubbles go in one request, if it has not too many."""
        bubbles = split_text(text, LONGEST_BUBBLE)
        return [text.strip()] if 0 < len(bubbles) <= MOST_BUBBLES else bubbles

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part. ManyChat knows no replies to a message, and gives no id."""
        content: dict[str, Any] = present(
            type=self._content_type,
            messages=[{"type": "text", "text": t} for t in split_text(part, LONGEST_BUBBLE)],
        )
        body = {"subscriber_id": chat_id, "data": {"version": "v2", "content": content}}
        self._wait_for(self._sending)
        self._ask("/fb/sending/sendContent", body)
        return Receipt(provider_message_id=None, chat_id=chat_id)

    def mark(self, chat_id: str, marks: Marks) -> None:
        """Set the fields and the tags of a subscriber. Twice is the same as once."""
        calls = [
            *(
                ("setCustomFieldByName", {"field_name": name, "field_value": value})
                for name, value in marks.fields.items()
            ),
            *(("addTagByName", {"tag_name": tag}) for tag in marks.add_tags),
            *(("removeTagByName", {"tag_name": tag}) for tag in marks.remove_tags),
        ]
        for name, what in calls:
            self._wait_for(self._marking)
            self._ask(f"/fb/subscriber/{name}", {"subscriber_id": chat_id, **what}, idempotent=True)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _wait_for(self, pace: RateLimiter | None) -> None:
        if pace is not None:
            self._api.open()  # before, or the slots of all who wait for it are used at once
            pace.wait()

    def _ask(self, path: str, body: Mapping[str, Any], *, idempotent: bool = False) -> None:
        _require_success(
            self._api.call("POST", path, json=body, idempotent=idempotent, accept=range(400, 500))
        )


def _says(message: _Message) -> bool:
    return message.text is not None or message.photo is not None


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _require_success(answer: Answer) -> None:
    # A refusal may come with any status, 200 included.
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status >= 400 or body.get("status") == "error":
        told = [str(body[key]) for key in ("message", "details") if body.get(key)]
        reason = "; ".join(told)[:300] or "no reason given"
        raise PermanentError(f"manychat: {answer.status} {reason}", ErrorCode.CHANNEL_REFUSED)
    if body.get("status") != "success":
        raise OutcomeUnknownError("manychat", f"answered {answer.status} without success")
