"""Talk to the Bot API: take updates, send messages, set the webhook."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from mirt.channels import notes
from mirt.channels.protocol import (
    Ignored,
    InboundMessage,
    PolledUpdate,
    ReachabilityChange,
    Receipt,
    WebhookReport,
)
from mirt.channels.splitting import split_text, well_formed
from mirt.channels.telegram.address import Address
from mirt.channels.telegram.audience import Audience, Groups
from mirt.channels.telegram.content import Content, read_content, service_kind
from mirt.channels.telegram.context import points_at
from mirt.channels.telegram.updates import (
    PRIVATE,
    MembershipChange,
    Message,
    Raw,
    Update,
    has,
    raw,
    raw_text,
)
from mirt.channels.webhook import header, present, read_if_valid, read_payload, same_secret
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    UnreachableError,
    WorkerError,
)
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
from mirt.tokens import newest

LONGEST_TEXT: Final = 4096
"""UTF-16 code units that Telegram takes in one message."""

UPDATES: Final = ("message", "edited_message", "my_chat_member")
"""The updates that Telegram sends us."""

MOST_UPDATES: Final = 25
"""Updates that one request fetches: an answer stays far below the largest that is read."""

_REFUSALS: Final = (400, 403)
_CONFLICT: Final = 409
_BLOCKED: Final = 403
_COURTESY_SECONDS: Final = 2.0
_LOOK_UP_SECONDS: Final = 0.8
_ANSWER_SECONDS: Final = 10.0
"""Seconds that an answer to a long poll may take beyond the poll itself."""
_OTHER_UPDATES: Final = (
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "guest_message",
    "callback_query",
    "inline_query",
    "message_reaction",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
)


class TelegramChannel:
    """One bot. Its API has no idempotency key: a part without an answer may have been delivered.

    ``secret`` is sent by Telegram in every webhook. ``None`` accepts every webhook, which only the
    embedded mode may do; an empty secret accepts none.
    """

    name = "telegram"

    def __init__(
        self,
        *,
        token: SecretStr,
        secret: SecretStr | None,
        api_url: str = "https://api.telegram.org",
        groups: Groups = "ignore",
        timeout: float = 20,
        max_connections: int = 64,
        send_rate: RateLimiter | None = None,
    ) -> None:
        """Take the token of the bot and the seconds that one request may last.

        ``send_rate`` limits the messages of all chats together. Without it Telegram does.
        """
        self._send_rate = send_rate
        self._secret = secret
        self._api = ExternalService(
            "telegram",
            SecretStr(f"{api_url.rstrip('/')}/bot{token.get_secret_value()}"),
            secrets=[token],
            timeout=timeout,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
            retry_after=_seconds_to_wait,
            had_no_effect=_failed_by_itself,
            settings=SettingNames("TELEGRAM_BOT_TOKEN", "TELEGRAM_API_URL"),
            account_refusal=_account_refusal,
            check=("POST", "/getMe"),
            max_connections=max_connections,
        )
        files = f"{api_url.rstrip('/')}/file/bot{token.get_secret_value()}"
        self._files_url = SecretStr(files)
        bot_id = token.get_secret_value().partition(":")[0]
        self._audience = Audience(
            groups, int(bot_id) if bot_id.isdecimal() else None, self._known_username
        )
        self._username: str | None = None

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook has the secret."""
        given = header(headers, "X-Telegram-Bot-Api-Secret-Token")
        return self._secret is None or same_secret(given, self._secret)

    def parse(self, payload: object) -> InboundMessage | ReachabilityChange | Ignored:
        """Map one Update. The private chat is the session; in a group each member has their own.

        An edit is a message with ``edit_of`` in its metadata. Only service messages, messages for
        others and other updates are ignored.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
            ExternalServiceError: our username is needed: call ``prepare``.
        """
        update = read_payload(Update, payload)
        if update.message is not None:
            return self._read(update, update.message, raw(payload, "message"))
        edited = raw(payload, "edited_message")
        message = read_if_valid(Message, edited) if edited else None
        # The edits of a live location only say where the customer is by now.
        if message is not None and not has(edited, "location"):
            return self._read(update, message, edited, is_edit=True)
        change = read_if_valid(MembershipChange, raw(payload, "my_chat_member"))
        if change is not None and change.chat.type == PRIVATE:
            return _reachability(change)
        return Ignored(_kind(payload))

    def prepare(self) -> None:
        """Ask for our username, by which messages in groups address us.

        Raises:
            ExternalServiceError: it cannot be had now. Also where Telegram refuses: that is no
                fault of the update, and a refusal would cost the message that names us.
        """
        try:
            me = _result(self._ask("getMe", {}, timeout=_LOOK_UP_SECONDS, idempotent=True))
        except (PermanentError, OutageError) as refused:
            raise ExternalServiceError("telegram", refused.message) from None
        self._username = raw_text(me, "username")

    def messaging_window(self, chat_id: str) -> timedelta | None:
        """Return None for a private chat, and no time at all for a group.

        All members of a group would read the follow-up of one of them. Groups have negative ids.
        """
        return timedelta(0) if chat_id.startswith("-") else None

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the chat: each one has a limit. A 429 for the whole bot looks the same."""
        return f"telegram:{chat_id.partition(Address.THREAD)[0]}"

    def split(self, text: str, chat_id: str = "") -> list[str]:
        """Return the messages that a reply is sent in."""
        return split_text(text, LONGEST_TEXT)

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one message. If Telegram says that the chat has moved, send it to the new one."""
        address = Address.read(chat_id)
        answer = self._send_message(address, part, reply_to)
        moved_to = _parameter(answer, "migrate_to_chat_id")
        if answer.status == 400 and moved_to is not None:
            address = Address(moved_to)
            answer = self._send_message(address, part, reply_to=None)
        if answer.status == _BLOCKED:
            raise UnreachableError(_in_words(answer), ErrorCode.CHANNEL_REFUSED)
        result = _result(answer)
        message_id = result.get("message_id") if isinstance(result, dict) else None
        return Receipt(None if message_id is None else str(message_id), str(address))

    def typing(self, chat_id: str) -> None:
        """Show "typing" in the chat for five seconds. Failures are ignored: it is a courtesy."""
        with suppress(WorkerError):
            body = {**Address.read(chat_id).parameters, "action": "typing"}
            self._ask("sendChatAction", body, timeout=_COURTESY_SECONDS, idempotent=True)

    def set_webhook(self, url: str) -> None:
        """Have Telegram send ``UPDATES`` to ``url`` with our secret.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        secret = newest(self._secret)
        token = secret.get_secret_value() if secret else None
        body = present(url=url, allowed_updates=list(UPDATES), secret_token=token)
        _result(self._ask("setWebhook", body, idempotent=True))

    def delete_webhook(self) -> None:
        """Have Telegram keep the updates until they are fetched, for 24 hours at most.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        body = {"drop_pending_updates": False}
        _result(self._ask("deleteWebhook", body, idempotent=True))

    def webhook_info(self) -> Mapping[str, Any]:
        """Return the state of the webhook: ``url``, ``pending_update_count``, last error.

        Raises:
            ExternalServiceError, RateLimitError, PermanentError: as ``send``.
        """
        answer = self._ask("getWebhookInfo", {}, timeout=CHECK_S, idempotent=True)
        result = _result(answer)
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
        me = _result(self._ask("getMe", {}, timeout=CHECK_S, idempotent=True))
        name = me.get("username") if isinstance(me, dict) else None
        return f"@{name}" if isinstance(name, str) else "a bot without a name"

    def check(self) -> ServiceReport:
        """Return the name of the bot: Telegram tells it to the token of the bot alone.

        Raises:
            ExternalServiceError, RateLimitError, OutageError: as ``send``.
        """
        return ServiceReport(self.identify())

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

    def fetch_picture(self, source: Mapping[str, Any], *, largest: int, within_s: float) -> bytes:
        """Return the file of a photo or a sticker.

        Raises:
            WorkerError: Telegram does not have it, it is larger, or the time is over.
        """
        end = time.monotonic() + within_s
        body = {"file_id": source.get("file_id")}
        answer = self._ask("getFile", body, timeout=within_s, idempotent=True)
        found = raw({"file": _result(answer)}, "file")
        path, size = raw_text(found, "file_path"), found.get("file_size")
        if not path or (isinstance(size, int) and size > largest):
            raise ExternalServiceError("telegram", f"a file of {size} bytes cannot be fetched")
        return download(
            "telegram",
            SecretStr(f"{self._files_url.get_secret_value()}/{quote(path)}"),
            largest=largest,
            within_s=max(0.0, end - time.monotonic()),
        )

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._api.close()

    def _read(
        self, update: Update, message: Message, json: Raw, *, is_edit: bool = False
    ) -> InboundMessage | Ignored:
        if refused := self._audience.refuses(message, json):
            return refused
        content = read_content(json)
        if content is None and (kind := service_kind(json)):
            return Ignored(f"message:{kind}")
        if content is None:
            content = Content(unread=[notes.unread("other")])
        return _inbound(update.update_id, message, json, content, is_edit=is_edit)

    def _known_username(self) -> str:
        if self._username is None:
            raise ExternalServiceError("telegram", "our username is not known yet")
        return self._username

    def _send_message(self, address: Address, part: str, reply_to: str | None) -> Answer:
        if self._send_rate is not None:
            # Opened first: calls that waited for it after the limiter would be sent in one burst.
            self._api.open()
            self._send_rate.wait()
        body: dict[str, Any] = {**address.parameters, "text": part}
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


def _inbound(
    update_id: int, message: Message, json: Raw, content: Content, *, is_edit: bool
) -> InboundMessage:
    sender, is_private = message.sender, message.chat.type == PRIVATE
    chat, message_id = str(message.chat.id), str(message.message_id)
    user_id = str(sender.id) if sender else None
    return InboundMessage(
        session_id=chat if is_private or user_id is None else f"{chat}:{user_id}",
        text=content.text,
        platform=TelegramChannel.name,
        chat_id=str(Address(message.chat.id, _thread(json))),
        user_id=user_id,
        # An edit is an event of its own; a second copy of it has the same update id.
        message_id=f"{message_id}:{update_id}" if is_edit else message_id,
        metadata=present(
            update_id=update_id,
            sent_at=_as_time(message.date),
            photo={"file_id": content.photo} if content.photo else None,
            sticker={"file_id": content.sticker} if content.sticker else None,
            unread=content.unread or None,
            points_at=points_at(json),
            album=well_formed(raw_text(json, "media_group_id")) or None,
            edit_of=message_id if is_edit else None,
            edited_at=_edit_time(message) if is_edit else None,
            reply_to=None if is_private else message_id,
            username=sender.username if sender else None,
            first_name=sender.first_name if sender else None,
            language_code=sender.language_code if sender else None,
        ),
    )


def _edit_time(message: Message) -> int:
    at = message.edit_date
    return at if isinstance(at, int) else message.date or 0


def _as_time(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _thread(message: Raw) -> int | None:
    """Return the topic that a message stands in; None in the general one, which has no number."""
    thread = message.get("message_thread_id")
    is_topic = message.get("is_topic_message") is True and isinstance(thread, int)
    return thread if is_topic else None


def _reachability(change: MembershipChange) -> ReachabilityChange | Ignored:
    if change.new_chat_member.status not in {"kicked", "member"}:
        return Ignored("my_chat_member")
    return ReachabilityChange(
        platform=TelegramChannel.name,
        session_id=str(change.chat.id),
        is_reachable=change.new_chat_member.status == "member",
        at=datetime.fromtimestamp(change.date, UTC),
    )


def _kind(payload: object) -> str:
    names = payload if isinstance(payload, dict) else {}
    return next((kind for kind in _OTHER_UPDATES if kind in names), "other")


def _seconds_to_wait(answer: Answer) -> float | None:
    return _parameter(answer, "retry_after")


def _failed_by_itself(answer: Answer) -> bool:
    # A proxy in front of the Bot API answers without this body, and proves nothing.
    body = answer.body if isinstance(answer.body, dict) else {}
    code = body.get("error_code")
    return body.get("ok") is False and isinstance(code, int) and 500 <= code < 600


def _account_refusal(answer: Answer) -> Refusal | None:
    # A chat that is not there is a 400: a 404 means that no bot has this token.
    is_refused = answer.status in {401, 404}
    return Refusal(str(answer.status), _reason(answer)) if is_refused else None


def _parameter(answer: Answer, name: str) -> int | None:
    parameters = answer.body.get("parameters") if isinstance(answer.body, dict) else None
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, int) else None


def _reason(answer: Answer) -> str:
    body = answer.body if isinstance(answer.body, dict) else {}
    return answer.without_quotes(str(body.get("description", "no reason given")))[:300]


def _in_words(answer: Answer) -> str:
    return f"telegram: {answer.status} {_reason(answer)}"


def _result(answer: Answer) -> Any:
    if answer.status >= 400:
        raise PermanentError(_in_words(answer), ErrorCode.CHANNEL_REFUSED)
    body = answer.body if isinstance(answer.body, dict) else {}
    if body.get("ok") is not True:
        raise OutcomeUnknownError("telegram", f"answered {answer.status} without ok")
    return body.get("result")
