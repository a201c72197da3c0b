"""The requests that a fake has received, and the answers that it gives."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

APIS: Final = ("telegram", "llm", "manychat", "crm", "staff")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    api: str
    """One of ``APIS``, or ``_control``."""
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    """The parsed JSON, ``None`` without one."""
    headers: Mapping[str, str]
    """Names in lower case."""
    time: float
    """Seconds since the epoch, so that processes can compare."""

    @property
    def text(self) -> str:
        """The body as JSON, for looking for words in it."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def chat(self) -> str | None:
        """The chat or subscriber that it is for."""
        body = self.body if isinstance(self.body, dict) else {}
        chat = body.get("chat_id", body.get("subscriber_id"))
        return None if chat is None else str(chat)

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a body that is bytes goes out as it is."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()
