"""Senders that behave as Telegram does.

A chat's next update is sent only after a 2xx. Anything else, or no answer in time, is sent again:
at once, then after 1, 2, 4 … seconds, or when ``Retry-After`` says. An update that was accepted is
sometimes sent a second time, at the same moment or later: a slow answer looks like none.
"""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import httpx

from tests.deployment import SECRET, update

ANSWER_S: Final = 8.0
"""Seconds until a missing answer counts as none."""
LONGEST_PAUSE_S: Final = 8.0
TWICE: Final = 0.06
"""The share of updates that are sent a second time though they were accepted."""
AT_ONCE: Final = 0.03
"""The share of updates that arrive twice at the same moment."""
BURST: Final = 0.3
"""The share of messages that are written right after the one before."""
_ID: Final = re.compile(r"#(\d+-\d+)\b")


def name_of(chat: int, number: int) -> str:
    """The unique id of a message."""
    return f"{chat}-{number}"


def text_of(chat: int, number: int) -> str:
    """Return the text that the customer writes; ``names_in`` finds the id in it."""
    return f"Чи є сукня на зріст 128? #{name_of(chat, number)}"


def names_in(text: str) -> list[str]:
    """The ids of the messages that a text repeats, in its order."""
    return _ID.findall(text)


@dataclass(frozen=True, slots=True)
class Writing:
    """One message to be written, ``at_s`` seconds from the beginning at the earliest."""

    at_s: float
    number: int
    at_once: bool
    """The update arrives twice at the same moment."""
    again_after_s: float | None
    """Seconds from its acceptance until the message is sent again."""


def plan(*, seed: int, messages: int, chats: int, seconds: float) -> dict[int, list[Writing]]:
    """Plan the messages: so many, spread over the chats and the seconds, some in bursts."""
    chance = random.Random(f"load {seed}")
    times: dict[int, list[float]] = {chat: [] for chat in range(1, chats + 1)}
    for number in range(messages):
        mine = times[1 + number % chats]
        burst = mine and chance.random() < BURST
        mine.append(mine[-1] + 0.05 if burst else chance.uniform(0, seconds))
    return {
        chat: [
            Writing(
                round(at_s, 2),
                number,
                chance.random() < AT_ONCE,
                round(chance.expovariate(0.5), 2) if chance.random() < TWICE else None,
            )
            for number, at_s in enumerate(sorted(mine))
        ]
        for chat, mine in times.items()
    }


@dataclass(slots=True)
class Sent:
    """The outcome of one message at the ingress; times in seconds since the epoch."""

    first_at: float
    accepted_at: float | None = None
    requests: int = 0
    """How often it was sent, those of ``Writing``'s repetitions among them."""


@dataclass
class Load:
    """All the chats. They write from ``with`` on; ``finish`` waits for the last of them."""

    port: int
    writings: Mapping[int, Sequence[Writing]]
    sent: dict[str, Sent] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    """How many requests got which status, or which failure."""

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=ANSWER_S,
            limits=limits,
            trust_env=False,
        )
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=one, name=f"chat-{one[0]}", daemon=True)
            for one in self.writings.items()
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def finish(self, *, within_s: float) -> bool:
        """Wait until every message is accepted; whether that came to be."""
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _write(self, chat: int, writings: Sequence[Writing]) -> None:
        for one in writings:
            if self._stopping.wait(max(0.0, self._began + one.at_s - time.monotonic())):
                return
            what = update(chat, one.number, text_of(chat, one.number))
            name = name_of(chat, one.number)
            twin = threading.Thread(target=self._post, args=(what, name))
            with self._lock:
                self.sent[name] = Sent(time.time())
            if one.at_once:
                twin.start()
            accepted = self._insist(what, name)
            if one.at_once:
                twin.join()
            if accepted and one.again_after_s is not None:
                self._stopping.wait(one.again_after_s)
                self._post(what, name)

    def _insist(self, what: Mapping[str, object], name: str) -> bool:
        """Send it until it is accepted; False when the run ended first."""
        pause_s, growing_s = 0.0, 0.0
        while not self._stopping.wait(pause_s):
            answer = self._post(what, name)
            if answer is not None and answer.is_success:
                return True
            asked = answer.headers.get("Retry-After") if answer is not None else None
            pause_s = float(asked) if asked else growing_s
            growing_s = min(LONGEST_PAUSE_S, max(1.0, 2 * growing_s))
        return False

    def _post(self, what: Mapping[str, object], name: str) -> httpx.Response | None:
        """Send it once; None when no answer came."""
        answer: httpx.Response | None = None
        try:
            answer = self._client.post(
                "/webhooks/telegram", json=what, headers={"X-Telegram-Bot-Api-Secret-Token": SECRET}
            )
            became = str(answer.status_code)
        except httpx.TransportError as failed:
            became = type(failed).__name__
        with self._lock:
            self.answers[became] += 1
            sent = self.sent[name]
            sent.requests += 1
            if answer is not None and answer.is_success and sent.accepted_at is None:
                sent.accepted_at = time.time()
        return answer
