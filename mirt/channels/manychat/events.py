"""Read the requests of ManyChat's flows, in both shapes that flows send."""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from mirt.channels import notes
from mirt.channels.splitting import well_formed
from mirt.channels.webhook import LONGEST_TEXT, Name, Payload, Text, invalid, read_payload

LONGEST_ID: Final = 255
_PHOTO: Final = "image"
_KINDS: Final = {
    "image": "photo",
    "audio": "audio",
    "voice": "voice",
    "video": "video",
    "reel": "video",
    "ig_reel": "video",
    "file": "document",
    "sticker": "sticker",
    "story_mention": "story",
    "story_reply": "story",
    "story": "story",
    "share": "post",
    "post": "post",
    "ig_post": "post",
    "template": "post",
}
"""Types of attachments that cannot be opened, with the kind under which notes know them."""


def _named(*names: str) -> Any:
    return Field(None, validation_alias=AliasChoices(*names))


def _as_text(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


def _message_id(value: object) -> object:
    """Return a usable id: none for a blank one or no id at all, a digest for a long one."""
    text = _as_text(value)
    if not isinstance(text, str) or not text.strip():
        return None
    return text if len(text) <= LONGEST_ID else digest(text)


Id = Annotated[Text, BeforeValidator(_as_text), Field(min_length=1, max_length=LONGEST_ID)]
"""Id of a subscriber; flows send it as text or as a number."""
MessageId = Annotated[Text | None, BeforeValidator(_message_id)]
"""Id of a message. An event is taken without one, so a wrong one costs nothing."""
Detail = Annotated[Name | None, BeforeValidator(lambda v: v if isinstance(v, str) else None)]
"""A text that an event can do without."""
Words = Annotated[Text, BeforeValidator(lambda v: v[:LONGEST_TEXT] if isinstance(v, str) else v)]
"""Words of a customer, cut to what the service takes."""


class _Part(Payload):
    """A part in which ``null`` counts as absent, so that the other spelling of a field is used."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if item is not None}


class _Subscriber(_Part):
    id: Id | None = _named("id", "user_id")
    name: Detail = None
    username: Detail = _named("username", "instagram_username")


class Attachment:
    """One attachment of a message, read without any demand on its shape."""

    def __init__(self, json: Any) -> None:
        fields = json if isinstance(json, dict) else {}
        payload = fields.get("payload")
        self._payload = payload if isinstance(payload, dict) else {}
        kind = fields.get("type")
        self._type = kind.casefold() if isinstance(kind, str) else ""

    @property
    def url(self) -> str | None:
        """Address of the file."""
        return self._text("url")

    @property
    def photo(self) -> str | None:
        """Address of the image, if it is one."""
        return self.url if self._type == _PHOTO else None

    @property
    def words(self) -> str | None:
        """The note that the attachment becomes, if it can be read: a place or a link."""
        if self._type == "location":
            found = self._payload.get("coordinates")
            place = found if isinstance(found, dict) else {}
            numbers = [place.get(name) for name in ("lat", "long")]
            if all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
                return notes.note(notes.LOCATION, ", ".join(map(str, numbers)))
        if self._type == "fallback" and (url := self.url):
            return notes.note(notes.LINKS, " ".join(filter(None, (self._text("title"), url))))
        return None

    @property
    def unread(self) -> dict[str, str]:
        """The entry of ``metadata["unread"]`` for it."""
        return notes.unread(_KINDS.get(self._type, "other"), self._text("title"))

    def _text(self, name: str) -> str | None:
        value = self._payload.get(name)
        return well_formed(value) or None if isinstance(value, str) else None


class _Message(_Part):
    id: MessageId = _named("id", "message_id")
    text: Words | None = _named("text", "content")
    image: Text | None = _named("image", "image_url")
    attachments: Any = None

    @property
    def attached(self) -> list[Attachment]:
        """The attachments; a flow may send a single one without a list."""
        found = self.attachments
        items = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
        return [Attachment(item) for item in items]

    @property
    def has_content(self) -> bool:
        """Whether anything came, even a blank text."""
        return self.text is not None or bool(self.image) or bool(self.attached)


def _plain_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


_AnyMessage = Annotated[_Message, BeforeValidator(_plain_text)]


class _Data(_Part):
    message: _AnyMessage | None = None


class _Request(_Part):
    """Both shapes of a request: ``subscriber`` with an object, or ``clientId`` with a text."""

    subscriber: _Subscriber = Field(
        _Subscriber(), validation_alias=AliasChoices("subscriber", "user")
    )
    client_id: Id | None = _named("clientId", "sessionId")
    message: _AnyMessage = _Message()
    data: _Data = _Data()
    image: Text | None = _named("image_url")
    event_id: MessageId = _named("message_id", "event_id")
    type: Any = None


class Event:
    """A customer's message as a flow has sent it."""

    def __init__(self, payload: object) -> None:
        """Read a request.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
        """
        request = read_payload(_Request, payload)
        candidates = (request.message, request.data.message)
        message = next((one for one in candidates if one and one.has_content), None)
        subscriber_id = request.subscriber.id or request.client_id
        if subscriber_id is None or (message is None and not request.image):
            missing = [] if subscriber_id else ["subscriber.id"]
            missing += ["message.text"] if message is None and not request.image else []
            raise invalid([f"{field}: Field required" for field in missing])
        self.subscriber_id = subscriber_id
        self.username, self.name = request.subscriber.username, request.subscriber.name
        self.kind = request.type
        self._message = message or _Message()
        self.message_id = request.message.id or self._message.id or request.event_id
        photos = [request.image, self._message.image, *self._photos()]
        self.photo = next((url for url in photos if url), None)

    @property
    def text(self) -> str:
        """The customer's words, after the notes of what came with them."""
        lines = [attached.words for attached in self._message.attached]
        return "\n".join(filter(None, [*lines, self._message.text]))[:LONGEST_TEXT]

    @property
    def unread(self) -> list[dict[str, str]]:
        """The entries of ``metadata["unread"]``."""
        unopened = (one for one in self._message.attached if not one.words and not one.photo)
        return [attached.unread for attached in unopened]

    @property
    def content_key(self) -> str:
        """The same for the same words and files of the same customer."""
        files = [one.url for one in self._message.attached if not one.photo]
        return digest(self.subscriber_id, self.text, self.photo, *files)

    def _photos(self) -> Iterator[str | None]:
        return (attached.photo for attached in self._message.attached)


def digest(*parts: str | None) -> str:
    """Return a short name for these texts; other texts have another one."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
