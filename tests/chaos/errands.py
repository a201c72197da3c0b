"""The shop's other programs: they order in the CRM and ask for follow-ups while everything breaks.

A request that is not accepted is sent again, with the same ``external_id`` of an order. That of a
follow-up may have been accepted unseen, so it is sent once.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from tests.chaos.load import ANSWER_S
from tests.unit.orders.examples import order

TOKEN: Final = "chaos-operator-token"
MESSAGES_FOR_ONE: Final = 25
"""For so many messages of customers there is one order, and one follow-up."""
PAUSE_S: Final = 1.0


@dataclass
class Errands:
    """Orders and follow-ups, spread over the time in which customers write."""

    port: int
    count: int
    chats: int
    seconds: float
    seed: int
    ordered: list[str] = field(default_factory=list)
    """The ``external_id`` of each order that was accepted."""
    followups: list[str] = field(default_factory=list)
    """The task of each follow-up that was accepted."""
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._order, daemon=True),
            threading.Thread(target=self._follow_up, daemon=True),
        ]
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=ANSWER_S,
        )

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
        """Wait until all are accepted; whether that came to be."""
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _times(self) -> list[float]:
        chance = random.Random(f"errands {self.seed}")
        return sorted(chance.uniform(0, self.seconds) for _ in range(self.count))

    def _order(self) -> None:
        for number, at_s in enumerate(self._times()):
            self._stopping.wait(max(0.0, self._began + at_s - time.monotonic()))
            external_id = f"chaos-{number}"
            what = order(external_id=external_id, source_id=str(1 + number % self.chats))
            while not self._stopping.is_set() and self._post("/tasks/order", what) is None:
                self._stopping.wait(PAUSE_S)
            if not self._stopping.is_set():
                self.ordered.append(external_id)

    def _follow_up(self) -> None:
        for number, at_s in enumerate(self._times()):
            if self._stopping.wait(max(0.0, self._began + at_s - time.monotonic())):
                return
            chat = str(1 + number % self.chats)
            answer = self._post("/tasks/followup", {"session_id": chat, "chat_id": chat})
            if answer is not None:
                self.followups.append(answer["task_id"])

    def _post(self, path: str, what: dict[str, Any]) -> dict[str, Any] | None:
        """Send it once; None if it was not accepted, or no answer came."""
        try:
            answer = self._client.post(path, json=what)
        except httpx.TransportError as failed:
            self.answers[type(failed).__name__] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        accepted: dict[str, Any] | None = answer.json() if answer.is_success else None
        return accepted
