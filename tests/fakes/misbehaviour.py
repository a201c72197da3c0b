"""The ways in which a service outside can fail us."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.traffic import Reply, Request


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Unless it says otherwise the request takes effect, and then its answer goes wrong."""

    @property
    def applies(self) -> bool:
        """Whether the request takes effect."""
        return True

    def instead(self, api: str) -> Reply | None:
        """The answer given instead of the right one."""
        return None


@dataclass(frozen=True, slots=True)
class Status(Misbehaviour):
    """Answer with this status and no effect; ``applied``: take effect first, as behind a proxy."""

    code: int
    body: Any = field(default_factory=lambda: {"error": "told to fail"})
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False

    @property
    def applies(self) -> bool:
        return self.applied

    def instead(self, api: str) -> Reply | None:
        return Reply(self.code, self.body, self.headers)


@dataclass(frozen=True, slots=True)
class TooMany(Misbehaviour):
    """429 in the manner of the API, no effect: Telegram says the wait in the body, others in a
    header, as seconds or as the HTTP date that is given.
    """

    retry_after: int | str | None = 1

    @property
    def applies(self) -> bool:
        return False

    def instead(self, api: str) -> Reply | None:
        if self.retry_after is None:
            return Reply(429, {"error": "too many requests"})
        if api == "telegram":
            description = f"Too Many Requests: retry after {self.retry_after}"
            body = {"ok": False, "error_code": 429, "description": description}
            return Reply(429, body | {"parameters": {"retry_after": self.retry_after}})
        return Reply(429, {"error": "too many"}, {"Retry-After": str(self.retry_after)})


@dataclass(frozen=True, slots=True)
class Delay(Misbehaviour):
    """Take effect, and answer rightly after so many seconds more."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang(Misbehaviour):
    """Take effect and hold the answer until ``release()``.

    With ``applied=False`` it never takes effect, and the release resets the connection.
    """

    applied: bool = True

    @property
    def applies(self) -> bool:
        return self.applied


@dataclass(frozen=True, slots=True)
class Reset(Misbehaviour):
    """Reset the connection before a byte of the answer, after or without the effect."""

    applied: bool = True

    @property
    def applies(self) -> bool:
        return self.applied


@dataclass(frozen=True, slots=True)
class SlowBytes(Misbehaviour):
    """Give the right answer a byte every ``pause`` seconds; with ``headers`` those as well."""

    pause: float = 0.05
    headers: bool = False


@dataclass(frozen=True, slots=True)
class Garbage(Misbehaviour):
    """Take effect and answer 200 with a page that is no JSON."""

    def instead(self, api: str) -> Reply | None:
        return Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"})


@dataclass(frozen=True, slots=True)
class EmptyCompletion(Misbehaviour):
    """The LLM's answer with nothing in it, or without the choice itself."""

    missing: bool = False

    def instead(self, api: str) -> Reply | None:
        empty = [{"index": 0, "message": {"role": "assistant", "content": ""}}]
        return Reply(200, {"model": "fake", "choices": [] if self.missing else empty})


KINDS: Mapping[str, type[Misbehaviour]] = {
    "status": Status,
    "too_many": TooMany,
    "delay": Delay,
    "hang": Hang,
    "reset": Reset,
    "drip": SlowBytes,
    "garbage": Garbage,
    "empty_completion": EmptyCompletion,
}
"""By the name that the control API knows."""


@dataclass(slots=True)
class Rule:
    """A misbehaviour, and for which requests. ``times=None`` is for ever."""

    api: str
    what: Misbehaviour
    times: int | None = 1
    match: str | None = None
    """Words that the body must contain."""
    chat: str | None = None
    path: str | None = None
    """How the path must end."""
    used: int = 0
    """Requests it was applied to so far."""
    released: threading.Event = field(default_factory=threading.Event)

    def fits(self, request: Request) -> bool:
        """Whether it is for this request, and not used up."""
        return (
            self.api == request.api
            and (self.times is None or self.used < self.times)
            and (self.match is None or self.match in request.text)
            and (self.chat is None or self.chat == request.chat)
            and (self.path is None or request.path.endswith(self.path))
        )
