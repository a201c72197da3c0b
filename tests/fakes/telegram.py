"""The Bot API: texts are checked as Telegram checks them."""

import itertools
from typing import Any

from tests.fakes.misbehaviour import Status
from tests.fakes.traffic import Reply, Request


def refusal(code: int, description: str, **parameters: Any) -> Status:
    """A refusal in Telegram's words, as ``refusal(403, "Forbidden: bot was blocked…")``."""
    body = {"ok": False, "error_code": code, "description": description}
    return Status(code, body | ({"parameters": parameters} if parameters else {}))


class TelegramApi:
    """One bot, whatever its token."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        """Chat and text, in order."""
        self.sent_at: list[float] = []
        """When the request of each was made, in seconds since the epoch."""
        self.webhook: dict[str, Any] = {}
        self.blocked_by: set[str] = set()
        """Chats whose customer has blocked the bot."""
        self._ids = itertools.count(1000)

    def answer(self, request: Request) -> Reply:
        """Answer ``/bot{token}/{method}``."""
        body = request.body if isinstance(request.body, dict) else {}
        match request.path.rsplit("/", 1)[-1]:
            case "sendMessage":
                return self._send(body, request.time)
            case "sendChatAction" | "deleteWebhook":
                return _ok(True)
            case "setWebhook":
                self.webhook = body
                return _ok(True)
            case "getWebhookInfo":
                url = self.webhook.get("url", "")
                return _ok({"url": url, "pending_update_count": 0})
            case "getMe":
                bot_id = request.path.rpartition("/bot")[2].partition(":")[0]
                return _ok(
                    {
                        "id": int(bot_id) if bot_id.isdecimal() else 1,
                        "is_bot": True,
                        "username": "fake_bot",
                    }
                )
        return _refused(404, "Not Found")

    def _send(self, body: dict[str, Any], time: float) -> Reply:
        text, chat_id = body.get("text"), body.get("chat_id")
        if not isinstance(chat_id, int):
            return _refused(400, "Bad Request: chat not found")
        if not isinstance(text, str) or not text.strip():
            return _refused(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) > 2 * 4096:
            return _refused(400, "Bad Request: message is too long")
        if str(chat_id) in self.blocked_by:
            return _refused(403, "Forbidden: bot was blocked by the user")
        if body.get("message_thread_id") == 1:
            return _refused(400, "Bad Request: message thread not found")
        self.sent.append((str(chat_id), text))
        self.sent_at.append(time)
        return _ok({"message_id": next(self._ids), "chat": {"id": chat_id}, "text": text})


def _ok(result: Any) -> Reply:
    return Reply(200, {"ok": True, "result": result})


def _refused(code: int, description: str) -> Reply:
    return Reply(code, refusal(code, description).body)
