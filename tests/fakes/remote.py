"""The fake world of another process, through its control API."""

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from tests.fakes.misbehaviour import KINDS, Misbehaviour
from tests.fakes.traffic import Request
from tests.fakes.urls import Urls

_NAMES = {kind: name for name, kind in KINDS.items()}


class RemoteServices(Urls):
    """Speaks as ``FakeServices`` does, from outside."""

    def __init__(self, url: str) -> None:
        """Take the URL that ``python -m tests.fakes`` prints."""
        self.url = url.rstrip("/")

    def requests(self, api: str | None = None, path: str | None = None) -> list[Request]:
        """The requests in order of arrival; of one API, of paths that end so."""
        query = {k: v for k, v in {"api": api, "path": path}.items() if v is not None}
        return [Request(**one) for one in self._get("requests", query)]

    def sent(self, chat_id: str | int) -> list[str]:
        """The texts that this chat or subscriber got, in order of arrival."""
        texts: list[str] = self._get("sent", {"chat_id": str(chat_id)})
        return texts

    def replies(self, since: int = 0) -> list[tuple[float, str, str]]:
        """Time, chat and text of what Telegram brought to customers, from number ``since`` on."""
        return [
            (time, chat, text) for time, chat, text in self._get("replies", {"since": str(since)})
        ]

    def completions(self, since: int = 0) -> list[tuple[float, str]]:
        """Time and text of what the agent has answered, from number ``since`` on."""
        return [(time, text) for time, text in self._get("completions", {"since": str(since)})]

    def orders(self) -> list[dict[str, Any]]:
        """The orders in the CRM."""
        orders: list[dict[str, Any]] = self._get("orders", {})
        return orders

    def misbehave(
        self,
        api: str,
        what: Misbehaviour,
        *,
        times: int | None = 1,
        match: str | None = None,
        chat: str | int | None = None,
        path: str | None = None,
    ) -> None:
        """Go wrong for the next ``times`` requests that match."""
        told = {"api": api, "kind": _NAMES[type(what)], "args": asdict(what), "times": times}
        self._post("misbehave", told | {"match": match, "chat": chat, "path": path})

    def latency(self, api: str, seconds: float) -> None:
        """Let every answer of this API take so long."""
        self._post("latency", {"api": api, "seconds": seconds})

    def release(self) -> None:
        """Let go of everything that hangs now."""
        self._post("release", {})

    def mend(self, api: str | None = None) -> None:
        """Behave from now on."""
        self._post("mend", {"api": api})

    def reset(self) -> None:
        """Forget everything that happened and every rule."""
        self._post("reset", {})

    def _get(self, command: str, query: dict[str, str]) -> Any:
        return _answer(UrlRequest(f"{self.url}/_control/{command}?{urlencode(query)}"))

    def _post(self, command: str, body: dict[str, Any]) -> None:
        _answer(UrlRequest(f"{self.url}/_control/{command}", json.dumps(body).encode()))


def _answer(request: UrlRequest) -> Any:
    with urlopen(request, timeout=10) as response:
        return json.load(response)
