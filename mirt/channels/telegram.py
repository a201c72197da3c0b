"""Receive and send messages of Telegram.

Source of its facts: https://core.telegram.org/bots/api.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr

from mirt.channels.protocol import Ignored, InboundMessage, PolledUpdate, Receipt, WebhookReport
from mirt.channels.splitting import split_text
from mirt.channels.webhook import Id, Payload, Text, header, present, read_payload, same_secret
from mirt.errors import ErrorCode, OutcomeUnknownError, PermanentError, WorkerError
from mirt.http import Answer, ExternalService

LONGEST_TEXT: Final = 4096
"""UTF-16 code units that Telegram takes in one message."""

UPDATES: Final = ("message",)
"""The updates that Telegram sends us."""

MOST_UPDATES: Final = 25
"""Updates that one request fetches: an answer stays far below the largest that is read."""

_REFUSALS: Final = (400, 401, 403, 404)
_CONFLICT: Final = 409
_COURTESY_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
"""Seconds that an answer to a long poll may take beyond the poll itself."""

_OTHER_UPDATES: Final = (
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "callback_query",
    "inline_query",
    "message_reaction",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
)
_OTHER_MESSAGES: Final = (
    "sticker",
    "voice",
    "audio",
    "animation",
    "video",
    "video_note",
    "document",
    "contact",
    "location",
    "poll",
    "new_chat_members",
    "left_chat_member",
    "pinned_message",
    "migrate_to_chat_id",
)


class _Chat(Payload):
    id: Id


class _User(Payload):
    id: Id
    username: Text | None = None
    first_name: Text | None = None
    language_code: Text | None = None


class _PhotoSize(Payload):
    file_id: Text


class _Message(Payload):
    message_id: Id
    date: Annotated[int, Field(ge=0, lt=2**33)] | None = None
    chat: _Chat
    sender: _User | None = Field(None, alias="from")
    text: Text | None = None
    caption: Text | None = None
    photo: list[_PhotoSize] = Field(default_factory=list)


class _Update(Payload):
    update_id: Id
    message: _Message | None = None


class TelegramChannel:
    """One bot. Its API has no idempotency key: a part without an answer may have been delivered.

    ``secret`` is sent by Telegram in every webhook. ``None`` accepts every webhook, which only the
    embedded mode may do; an empty secret accepts none.
    """

    name = "telegram"
    messaging_window: timedelta | None = None

    def __init__(
        self,
        *,
        token: SecretStr,
        secret: SecretStr | None,
        api_url: str = "https://api.telegram.org",
        timeout: float = 20,
        max_connections: int = 64,
    ) -> None:
        """Take the token of the bot and the seconds that one request may last."""
        self._secret = secret
        self._api = ExternalService(
            "telegram",
            SecretStr(f"{api_url.rstrip('/')}/bot{token.get_secret_value()}"),
            secrets=[token],
            timeout=timeout,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            retry_after=_seconds_to_wait,
            had_no_effect=_failed_by_itself,
            max_connections=max_connections,
        )

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook has the secret."""
        given = header(headers, "X-Telegram-Bot-Api-Secret-Token")
        return self._secret is None or same_secret(given, self._secret)

    def parse(self, payload: object) -> InboundMessage | Ignored:
        """Map one Update. The chat is the session. Only texts and photos get an answer.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
        """
        update = read_payload(_Update, payload)
        message = update.message
        if message is None:
            return Ignored(_kind(payload, _OTHER_UPDATES))
        if message.text is None and message.caption is None and not message.photo:
            inner = payload.get("message") if isinstance(payload, dict) else None
            return Ignored(f"message:{_kind(inner, _OTHER_MESSAGES)}")
        return _inbound(update.update_id, message)

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the chat: each one has a limit. A 429 for the whole bot looks the same."""
        return f"telegram:{chat_id}"

    def split(self, text: str) -> list[str]:
        """Return the messages that a reply is sent in."""
        return split_text(text, LONGEST_TEXT)

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one message. If Telegram says that the chat has moved, send it to the new one."""
        answer = self._send_message(chat_id, part, reply_to)
        moved_to = _parameter(answer, "migrate_to_chat_id")
        if answer.status == 400 and moved_to is not None:
            chat_id = str(moved_to)
            answer = self._send_message(chat_id, part, reply_to=None)
        result = _result(answer)
        message_id = result.get("message_id") if isinstance(result, dict) else None
        return Receipt(None if message_id is None else str(message_id), chat_id)

    def typing(self, chat_id: str) -> None:
        """Show "typing" in the chat for five seconds. Failures are ignored: it is a courtesy."""
        with suppress(WorkerError):
            body = {"chat_id": _number(chat_id), "action": "typing"}
            self._ask("sendChatAction", body, timeout=_COURTESY_SECONDS, idempotent=True)

    def set_webhook(self, url: str) -> None:
        """Have Telegram send ``UPDATES`` to ``url`` with our secret.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        secret = self._secret.get_secret_value() if self._secret else None
        body = present(url=url, allowed_updates=list(UPDATES), secret_token=secret)
        _result(self._ask("setWebhook", body, idempotent=True))

    def delete_webhook(self) -> None:
        """Have Telegram keep the updates until they are fetched, for 24 hours at most.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        _result(self._ask("deleteWebhook", {"drop_pending_updates": False}))

    def webhook_info(self) -> Mapping[str, Any]:
        """Return the state of the webhook: ``url``, ``pending_update_count``, last error.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        result = _result(self._ask("getWebhookInfo", {}, timeout=_LOOK_SECONDS, idempotent=True))
        return result if isinstance(result, dict) else {}

    def webhook_report(self) -> WebhookReport:
        """Return the state of the webhook.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        info = self.webhook_info()
        at = info.get("last_error_date")
        return WebhookReport(
            url=str(info.get("url") or ""),
            pending=int(info.get("pending_update_count") or 0),
            last_error=str(info.get("last_error_message") or "") or None,
            last_error_at=datetime.fromtimestamp(at, UTC) if isinstance(at, int) else None,
        )

    def identify(self) -> str:
        """Return the name of the bot, as ``@name``.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        me = _result(self._ask("getMe", {}, timeout=_LOOK_SECONDS))
        name = me.get("username") if isinstance(me, dict) else None
        return f"@{name}" if isinstance(name, str) else "a bot without a name"

    def fetch_updates(self, confirm_until: int | None, *, wait_s: float) -> list[PolledUpdate]:
        """Return the updates that were not confirmed; wait up to ``wait_s`` s for one.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``; also if a webhook is
                set, or another program fetches the updates.
        """
        body = present(
            offset=None if confirm_until is None else confirm_until + 1,
            limit=MOST_UPDATES,
            timeout=int(wait_s),
            allowed_updates=list(UPDATES),
        )
        answer = self._api.call(
            "POST",
            "/getUpdates",
            json=body,
            idempotent=True,
            accept=(*_REFUSALS, _CONFLICT),
            timeout=wait_s + _ANSWER_SECONDS,
        )
        found = _result(answer)
        return [
            PolledUpdate(update["update_id"], update)
            for update in (found if isinstance(found, list) else [])
            if isinstance(update, dict) and isinstance(update.get("update_id"), int)
        ]

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._api.close()

    def _send_message(self, chat_id: str, part: str, reply_to: str | None) -> Answer:
        body: dict[str, Any] = {"chat_id": _number(chat_id), "text": part}
        if reply_to is not None and reply_to.isdecimal():
            body["reply_parameters"] = {
                "message_id": int(reply_to),
                "allow_sending_without_reply": True,
            }
        return self._ask("sendMessage", body)

    def _ask(
        self,
        method: str,
        body: Mapping[str, Any],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Answer:
        return self._api.call(
            "POST",
            f"/{method}",
            json=body,
            accept=_REFUSALS,
            timeout=timeout,
            idempotent=idempotent,
        )


def _inbound(update_id: int, message: _Message) -> InboundMessage:
    chat_id, message_id, sender = str(message.chat.id), str(message.message_id), message.sender
    sent_at = None if message.date is None else datetime.fromtimestamp(message.date, UTC)
    return InboundMessage(
        session_id=chat_id,
        text=message.text or message.caption or "",
        platform=TelegramChannel.name,
        chat_id=chat_id,
        user_id=str(sender.id) if sender else None,
        message_id=message_id,
        metadata=present(
            update_id=update_id,
            sent_at=sent_at.isoformat() if sent_at else None,
            photo={"file_id": message.photo[-1].file_id} if message.photo else None,
            username=sender.username if sender else None,
            first_name=sender.first_name if sender else None,
            language_code=sender.language_code if sender else None,
        ),
    )


def _kind(payload: object, known: tuple[str, ...]) -> str:
    names = payload if isinstance(payload, dict) else {}
    return next((kind for kind in known if kind in names), "other")


def _number(chat_id: str) -> int:
    try:
        return int(chat_id)
    except ValueError:
        reason = "telegram: the chat id is not a number"
    raise PermanentError(reason, ErrorCode.CHANNEL_REFUSED)


def _seconds_to_wait(answer: Answer) -> float | None:
    return _parameter(answer, "retry_after")


def _failed_by_itself(answer: Answer) -> bool:
    # A proxy in front of the Bot API answers without this body, and proves nothing.
    body = answer.body if isinstance(answer.body, dict) else {}
    code = body.get("error_code")
    return body.get("ok") is False and isinstance(code, int) and 500 <= code < 600


def _parameter(answer: Answer, name: str) -> int | None:
    parameters = answer.body.get("parameters") if isinstance(answer.body, dict) else None
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, int) else None


def _result(answer: Answer) -> Any:
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status >= 400:
        reason = str(body.get("description", "no reason given"))[:300]
        raise PermanentError(f"telegram: {answer.status} {reason}", ErrorCode.CHANNEL_REFUSED)
    if body.get("ok") is not True:
        raise OutcomeUnknownError("telegram", f"answered {answer.status} without ok")
    return body.get("result")
