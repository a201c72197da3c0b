"""Customers beside the load: a person attends to some, and others ask to be forgotten.

Each has a chat of their own, which the load does not use. The acts are those of an operator at the
command line, while everything breaks: a command that fails is given again.
"""

import random
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Final, Self

import httpx

from tests.chaos.load import Sent, name_of, text_of
from tests.chaos.stage import Stage
from tests.deployment import update

MESSAGES_FOR_ONE: Final = 250
"""For so many messages of the load there is one customer of each kind."""
FIRST_HANDED_OVER: Final = 800_001
FIRST_FORGOTTEN: Final = 900_001
PAUSE_S: Final = 0.5


@dataclass
class Visitor:
    """A customer of an operator. ``done`` says whether every command has succeeded."""

    chat: int
    done: bool = False


@dataclass
class HandedOver(Visitor):
    """A customer whose conversation a person takes over; times in seconds since the epoch.

    The customer writes four messages: before the takeover, under it, after the person's text, and
    after the handback. The bot answers the first and the last two.
    """

    sent: dict[str, Sent] = field(default_factory=dict)
    """The messages that the bot has to answer."""
    said: bool = False
    """Whether the person's text is known to be accepted; it then answers the second message."""
    back_at: float = inf
    """When the handback began."""

    @property
    def unanswered(self) -> str:
        """The name of the message that the person answers."""
        return name_of(self.chat, 1)

    @property
    def persons_text(self) -> str:
        """The text of the person, which names no message."""
        return f"Олена слухає вас у чаті {self.chat}"


@dataclass
class Forgotten(Visitor):
    """A customer who asks to be forgotten."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The name, the phone number and the text that must be found nowhere."""
        return f"Тиха{self.chat}", f"+380671{self.chat}", f"таємниця{self.chat}"


@dataclass
class Visits:
    """All of these customers, spread over the time in which the load writes."""

    stage: Stage
    messages: int
    seconds: float
    seed: int
    handed_over: list[HandedOver] = field(default_factory=list)
    forgotten: list[Forgotten] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="visit")
        of_each_kind = range(max(1, self.messages // MESSAGES_FOR_ONE))
        self.handed_over = [HandedOver(FIRST_HANDED_OVER + n) for n in of_each_kind]
        self.forgotten = [Forgotten(FIRST_FORGOTTEN + n) for n in of_each_kind]

    def __enter__(self) -> Self:
        chance = random.Random(f"visits {self.seed}")
        visits = [
            *(partial(self._hand_over, one) for one in self.handed_over),
            *(partial(self._forget, one) for one in self.forgotten),
        ]
        chance.shuffle(visits)
        times = sorted(chance.uniform(0, 0.8 * self.seconds) for _ in visits)
        began = time.monotonic()
        self._running = [
            self._threads.submit(self._visit, began + at_s, visit)
            for at_s, visit in zip(times, visits, strict=True)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads.shutdown(cancel_futures=True)

    @property
    def sent(self) -> dict[str, Sent]:
        """The messages that the bot has to answer."""
        return {name: sent for one in self.handed_over for name, sent in one.sent.items()}

    @property
    def unfinished(self) -> list[str]:
        """The chats in which a command never succeeded."""
        everybody: list[Visitor] = [*self.handed_over, *self.forgotten]
        return [str(one.chat) for one in everybody if not one.done]

    def finish(self, *, within_s: float) -> bool:
        """Wait until all visits are over; whether that came to be. A visit that broke raises."""
        deadline = time.monotonic() + within_s
        try:
            for one in self._running:
                one.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return False
        return True

    def _visit(self, at: float, visit: Callable[[], None]) -> None:
        if not self._over.wait(max(0.0, at - time.monotonic())):
            visit()

    def _hand_over(self, customer: HandedOver) -> None:
        chat = customer.chat
        customer.sent[name_of(chat, 0)] = self._write(chat, 0)
        self._insist(lambda: bool(self._heard(chat)))
        self._insist(lambda: self._command("takeover", str(chat)) == 0)
        self._write(chat, 1)
        # It is said once: after a failure it is not known whether the customer gets it.
        customer.said = self._command("say", str(chat), customer.persons_text) == 0
        if customer.said:
            self._insist(lambda: customer.persons_text in self._heard(chat))
        waiting = self._write(chat, 2)
        customer.back_at = waiting.accepted_at = time.time()
        customer.sent[name_of(chat, 2)] = waiting
        self._insist(lambda: self._command("handback", str(chat)) == 0)
        customer.sent[name_of(chat, 3)] = self._write(chat, 3)
        customer.done = not self._over.is_set()

    def _forget(self, customer: Forgotten) -> None:
        name, phone, words = customer.markers
        person = {"id": customer.chat, "is_bot": False, "first_name": name}
        text = f"{text_of(customer.chat, 0)} {words} {phone}"
        self._write(customer.chat, 0, text=text, **{"from": person})
        # After an attempt whose answer was lost there is nothing left to forget: 1.
        self._insist(lambda: self._command("forget", str(customer.chat), "--yes") in {0, 1})
        self._write(customer.chat, 0, text=text, **{"from": person})
        customer.done = not self._over.is_set()

    def _write(self, chat: int, number: int, *, text: str = "", **more: Any) -> Sent:
        """Post a message until it is accepted."""
        what = update(chat, number, text or text_of(chat, number), **more)
        sent = Sent(time.time())
        self._insist(lambda: self._is_accepted(what))
        sent.accepted_at = time.time()
        return sent

    def _is_accepted(self, what: dict[str, object]) -> bool:
        try:
            return self.stage.deployed.post(what).is_success
        except httpx.TransportError:
            return False

    def _command(self, *arguments: str) -> int | None:
        """Return the exit code of a command; None if it does not end by itself."""
        try:
            return self.stage.deployed.mirt(*arguments).returncode
        except subprocess.TimeoutExpired:
            return None

    def _heard(self, chat: int) -> Sequence[str]:
        return self.stage.services.sent(chat)

    def _insist(self, is_done: Callable[[], bool]) -> None:
        while not self._over.is_set() and not is_done():
            self._over.wait(PAUSE_S)
