"""The world outside as a test sees it: what it was asked, and how it is to behave."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from tests.fakes.crm import CrmApi
from tests.fakes.llm import LlmApi
from tests.fakes.manychat import ManyChatApi
from tests.fakes.misbehaviour import Misbehaviour, Rule
from tests.fakes.server import FakeServer
from tests.fakes.staff import StaffApi
from tests.fakes.telegram import TelegramApi
from tests.fakes.traffic import APIS, Reply, Request
from tests.fakes.urls import Urls


class Api(Protocol):
    """One of the services."""

    def answer(self, request: Request) -> Reply:
        """Take effect and answer. Called for one request at a time."""
        ...


class FakeServices(Urls):
    """All outside APIs on one port, from ``with`` to its end.

    A request is recorded, then takes effect, then waits as it is told, then is answered.
    """

    def __init__(self, port: int = 0) -> None:
        """Take the port, 0 for a free one."""
        self._changed = threading.Condition()
        self._closing = False
        self._server = FakeServer(self, port)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.reset()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what hangs, end every connection and free the port."""
        self._closing = True
        self.release()
        with self._changed:
            self._changed.notify_all()
        self._server.stop()

    def reset(self) -> None:
        """Forget everything that happened and every rule."""
        with self._changed:
            for rule in getattr(self, "_rules", []):
                rule.released.set()
            self.telegram, self.llm = TelegramApi(), LlmApi()
            self.manychat, self.crm = ManyChatApi(), CrmApi()
            self.staff = StaffApi()
            self.latency: dict[str, float] = {}
            """Seconds that each API takes for every answer."""
            self._rules: list[Rule] = []
            self._requests: list[Request] = []

    @property
    def connections(self) -> int:
        """How many connections were ever opened to this world."""
        return self._server.accepted

    def requests(self, api: str | None = None, path: str | None = None) -> list[Request]:
        """The requests in order of arrival; of one API, of paths that end so."""
        with self._changed:
            return [
                request
                for request in self._requests
                if api in (None, request.api) and (path is None or request.path.endswith(path))
            ]

    def sent(self, chat_id: str | int) -> list[str]:
        """The texts that this chat or subscriber got, in order of arrival."""
        with self._changed:
            everything = [*self.telegram.sent, *self.manychat.sent]
        return [text for chat, text in everything if chat == str(chat_id)]

    def replies(self, since: int = 0) -> list[tuple[float, str, str]]:
        """Time, chat and text of what Telegram brought to customers, from number ``since`` on."""
        with self._changed:
            sent, when = self.telegram.sent[since:], self.telegram.sent_at[since:]
        return [(time, chat, text) for time, (chat, text) in zip(when, sent, strict=True)]

    def completions(self, since: int = 0) -> list[tuple[float, str]]:
        """Time and text of what the agent has answered, from number ``since`` on."""
        with self._changed:
            return self.llm.completions[since:]

    def misbehave(
        self,
        api: str,
        what: Misbehaviour,
        *,
        times: int | None = 1,
        match: str | None = None,
        chat: str | int | None = None,
        path: str | None = None,
    ) -> Rule:
        """Go wrong for the next ``times`` requests that match; rules apply in the order given."""
        assert api in APIS, f"no such API: {api}"
        rule = Rule(api, what, times, match, None if chat is None else str(chat), path)
        with self._changed:
            self._rules.append(rule)
        return rule

    def release(self) -> None:
        """Let go of everything that hangs now."""
        with self._changed:
            for rule in self._rules:
                rule.released.set()
                rule.released = threading.Event()

    def mend(self, api: str | None = None) -> None:
        """Behave from now on; what hangs goes on hanging until ``release``."""
        with self._changed:
            for rule in self._rules:
                if api in (None, rule.api):
                    rule.times = 0

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Wait until something of this world is so; it is looked at with each request.

        Raises:
            AssertionError: it is not so after ``timeout`` seconds.
        """
        with self._changed:
            assert self._changed.wait_for(condition, timeout), "the world did not come to that"

    def take(self, request: Request) -> tuple[Rule | None, threading.Event, Reply | None]:
        """Record a request and let it take effect; ``None`` for an answer it is not to get."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            rule = next((rule for rule in self._rules if rule.fits(request)), None)
            reply = None
            if rule is None or rule.what.applies:
                self._poll_long(request)
                api: Api = getattr(self, request.api)
                reply = api.answer(request)
            if rule is not None:
                rule.used += 1
                reply = rule.what.instead(request.api) or reply
            released = rule.released if rule else threading.Event()
            self._changed.notify_all()
        return rule, released, reply

    def write(self, *updates: Mapping[str, Any]) -> None:
        """Give the bot updates that it can fetch, as customers who write do."""
        with self._changed:
            self.telegram.updates += updates
            self._changed.notify_all()

    def _poll_long(self, request: Request) -> None:
        """Hold a request for updates until there is one, as Telegram does."""
        if request.api != "telegram" or not (seconds := self.telegram.waits_for_updates(request)):
            return
        self._changed.wait_for(
            lambda: self._closing or self.telegram.updates or self.telegram.webhook, seconds
        )

    def pause(self, seconds: float) -> None:
        """Take time, but not beyond the end of the world."""
        end = time.monotonic() + seconds
        while not self._closing and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def hold(self, released: threading.Event) -> None:
        """Wait for the release, but not beyond the end of the world."""
        while not self._closing and not released.wait(0.2):
            pass
