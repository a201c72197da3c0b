"""ManyChat's public API, under ``/manychat``."""

from collections import defaultdict
from typing import Any

from tests.fakes.traffic import Reply, Request


class ManyChatApi:
    """Subscribers with their messages, fields and tags."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        """Subscriber and text, or URL of the image, of each bubble, in order."""
        self.fields: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self.tags: defaultdict[str, set[str]] = defaultdict(set)

    def answer(self, request: Request) -> Reply:
        """Answer ``/manychat/fb/…``."""
        body = request.body if isinstance(request.body, dict) else {}
        if not request.headers.get("authorization", "").removeprefix("Bearer "):
            return _error(401, "Wrong token")
        if request.path.endswith("/fb/page/getInfo"):
            return Reply(200, {"status": "success", "data": {"id": 1, "name": "Shop"}})
        if not request.chat:
            return _error(400, "subscriber_id is required")
        match request.path.removeprefix("/manychat"):
            case "/fb/sending/sendContent":
                return self._send(request.chat, body)
            case "/fb/subscriber/setCustomFieldByName":
                self.fields[request.chat][body["field_name"]] = body["field_value"]
            case "/fb/subscriber/addTagByName":
                self.tags[request.chat].add(body["tag_name"])
            case "/fb/subscriber/removeTagByName":
                self.tags[request.chat].discard(body["tag_name"])
            case _:
                return _error(404, "Not found")
        return Reply(200, {"status": "success"})

    def _send(self, subscriber: str, body: dict[str, Any]) -> Reply:
        data = body.get("data") or {}
        content = data.get("content") or {}
        messages = content.get("messages") or []
        if data.get("version") != "v2" or not 1 <= len(messages) <= 10:
            return _error(400, "Validation error")
        if content.get("type") not in {None, "instagram", "whatsapp", "telegram"}:
            return _error(400, "Validation error")
        if any(_is_too_long(message.get("text", ""), content) for message in messages):
            return _error(400, "Text is too long")
        self.sent += [(subscriber, m.get("text") or m.get("url", "")) for m in messages]
        return Reply(200, {"status": "success"})


def _is_too_long(text: str, content: dict[str, Any]) -> bool:
    is_instagram = content.get("type") == "instagram"
    return len(text) > 2000 or (is_instagram and len(text.encode()) > 1000)


def _error(code: int, message: str) -> Reply:
    return Reply(code, {"status": "error", "message": message})
