"""The Bot API: texts are checked as Telegram checks them, updates are kept until confirmed."""

import itertools
from collections.abc import Mapping
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
        self.webhook_state: dict[str, Any] = {}
        """More of what ``getWebhookInfo`` says: last error, number of updates."""
        self.updates: list[Mapping[str, Any]] = []
        """The updates that were not confirmed, in order."""
        self.blocked_by: set[str] = set()
        """Chats whose customer has blocked the bot."""
        self.files: dict[str, bytes] = {}
        """The content of the files that customers sent, by file id."""
        self._ids = itertools.count(1000)

    def answer(self, request: Request) -> Reply:
        """Answer ``/bot{token}/{method}``."""
        body = request.body if isinstance(request.body, dict) else {}
        match request.path.rsplit("/", 1)[-1]:
            case "sendMessage":
                return self._send(body, request.time)
            case "sendChatAction":
                return _ok(True)
            case "getFile":
                return self._get_file(body)
            case path if "/file/" in request.path:
                content = self.files.get(path)
                return Reply(200, content) if content else _refused(404, "Not Found")
            case "setWebhook":
                self.webhook = body
                return _ok(True)
            case "deleteWebhook":
                self.webhook = {}
                return _ok(True)
            case "getWebhookInfo":
                info = {
                    "url": self.webhook.get("url", ""),
                    "pending_update_count": len(self.updates),
                }
                return _ok({**info, **self.webhook_state})
            case "getUpdates":
                return self._get_updates(body)
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

    def waits_for_updates(self, request: Request) -> float:
        """Confirm what the request confirms; return how many seconds it would wait for more."""
        body = request.body if isinstance(request.body, dict) else {}
        if not request.path.endswith("/getUpdates") or self.webhook.get("url"):
            return 0
        offset = body.get("offset") or 0
        self.updates = [one for one in self.updates if one["update_id"] >= offset]
        return 0 if self.updates else float(body.get("timeout", 0))

    def _get_updates(self, body: dict[str, Any]) -> Reply:
        if self.webhook.get("url"):
            description = "Conflict: can't use getUpdates method while webhook is active"
            return _refused(409, f"{description}; use deleteWebhook to delete the webhook first")
        return _ok(self.updates[: body.get("limit", 100)])

    def _get_file(self, body: dict[str, Any]) -> Reply:
        content = self.files.get(str(body.get("file_id")))
        if content is None:
            return _refused(400, "Bad Request: invalid file_id")
        return _ok(
            {
                "file_id": body["file_id"],
                "file_size": len(content),
                "file_path": f"photos/{body['file_id']}",
            }
        )

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
