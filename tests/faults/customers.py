"""Customers who write while something breaks, and the check that each message is answered once."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final, Self

import httpx

from tests.deployment import Deployment, update
from tests.polling import wait_until

ABOUT_A_SECOND: Final = 1.5
"""Seconds in which a webhook is answered, on a machine that is busy with the fault itself."""
AS_USUAL: Final = 3.0
"""A webhook may take so many times as long as the slowest one before the fault: the machine may be
slow by itself."""
REFUSED: Final = 0.1
"""Part of the webhooks that a busy machine may refuse by itself, with 503."""
BREATH_S: Final = 0.2
"""Seconds between two messages of a chat: eight chats write about forty messages a second."""


@dataclass(frozen=True)
class Answer:
    """The answer to a webhook, and the seconds that it took."""

    status: int
    seconds: float
    retry_after: str | None


class Customers:
    """Each chat writes m0, m1, m2 … one after the other, until the block ends.

    A message that is not accepted is written again until it is, as Telegram does it; the next comes
    after it. So at the end everything written is accepted, and has to be answered. ``in_rounds``
    all chats write one message, eight at once, before any writes the next: that suits many chats.
    """

    def __init__(
        self, deployed: Deployment, chats: Iterable[int], *, in_rounds: bool = False
    ) -> None:
        self.answers: list[Answer] = []
        self.failures: list[Exception] = []
        self._deployed = deployed
        self._usual_s = 0.0
        self._accepted = dict.fromkeys(chats, 0)
        self._enough = Event()
        self._threads = [Thread(target=self._write, args=(chat,)) for chat in self._accepted]
        if in_rounds:
            self._threads = [Thread(target=self._write_rounds)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.go_on()
        self._usual_s = self.slowest_s
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def write(self, *, rounds: int) -> None:
        """Write so many messages of each chat, in rounds; all are accepted at the end."""
        for _ in range(rounds):
            updates = [update(chat, n, f"m{n}") for chat, n in self._accepted.items()]
            answers = self._deployed.post_all(updates)
            self.answers += map(_answer_of, answers)
            assert {answer.status_code for answer in answers} == {200}
            for chat in self._accepted:
                self._accepted[chat] += 1

    @property
    def slowest_s(self) -> float:
        """The longest time in seconds that a webhook has waited for its answer."""
        return max(answer.seconds for answer in self.answers)

    def statuses(self) -> set[int]:
        """Return every status that was answered so far."""
        return {answer.status for answer in self.answers}

    def assert_answered_soon(self) -> None:
        """Assert that each answer took about a second, or as long as before the fault."""
        assert self.slowest_s < max(ABOUT_A_SECOND, AS_USUAL * self._usual_s)

    def assert_served_as_usual(self) -> None:
        """Assert that the fault, which began in the block, made no webhook wait or be refused."""
        assert not self.failures
        assert self.statuses() <= {200, 503}
        assert len(self.refusals()) <= REFUSED * len(self.answers)
        self.assert_answered_soon()

    def refusals(self) -> list[Answer]:
        """Return the answers that told a customer to come back."""
        return [answer for answer in self.answers if answer.status == 503]

    def go_on(self, *, messages: int = 3, within_s: float = 30) -> None:
        """Wait until each chat has had so many more messages accepted."""
        wanted = {chat: already + messages for chat, already in self._accepted.items()}
        wait_until(
            lambda: all(self._accepted[chat] >= number for chat, number in wanted.items()),
            within_s=within_s,
            what=f"{messages} more messages of each chat are accepted",
        )

    def answered(self) -> bool:
        """Whether every message accepted so far has its reply."""
        return all(
            len(set(replied_to(self._deployed, chat))) == written
            for chat, written in self._accepted.items()
        )

    def assert_once_and_in_order(self) -> None:
        """Assert that each message is answered once and in order; twice only if that is unknown."""
        assert not self.failures
        twice = set(_chats_with_unknown_outcomes(self._deployed))
        for chat, written in self._accepted.items():
            wanted = [f"m{number}" for number in range(written)]
            got = replied_to(self._deployed, chat)
            assert list(dict.fromkeys(got)) == wanted, f"chat {chat}: {got}"
            assert got == wanted or str(chat) in twice, f"chat {chat} got a reply twice: {got}"

    def _write(self, chat: int) -> None:
        refused = False
        while refused or not self._enough.is_set():
            number = self._accepted[chat]
            try:
                answer = self._deployed.post(update(chat, number, f"m{number}"))
            except httpx.HTTPError as failed:
                self.failures.append(failed)
                return
            self.answers.append(_answer_of(answer))
            refused = answer.status_code != 200
            self._accepted[chat] += not refused
            self._enough.wait(BREATH_S)

    def _write_rounds(self) -> None:
        try:
            while not self._enough.wait(BREATH_S):
                self.write(rounds=1)
        except (httpx.HTTPError, AssertionError) as failed:
            self.failures.append(failed)


def _answer_of(answer: httpx.Response) -> Answer:
    return Answer(
        answer.status_code, answer.elapsed.total_seconds(), answer.headers.get("Retry-After")
    )


def replied_to(deployed: Deployment, chat: int) -> list[str]:
    """Return the messages of a chat in the order of the replies; a reply may answer many."""
    return re.findall(r"m\d+", " ".join(deployed.services.sent(chat)))


def _chats_with_unknown_outcomes(deployed: Deployment) -> Iterator[str]:
    for (chat,) in deployed.rows("SELECT DISTINCT chat_id FROM deliveries WHERE unknown > 0"):
        yield str(chat)
