"""G15: a person takes a conversation over, and the customer hears one voice, whatever dies.

A customer writes, the agent asks for a person, the person answers twice while the customer writes,
and the conversation is handed back. The customer gets one stream of texts, in order, and no answer
twice.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest

from tests.deployment import Deployment, kill_tree, update
from tests.fakes import FakeServices, Hang
from tests.polling import START_WITHIN_S, wait_until

CHAT = 15
STAFF_CHAT = "-100500"


@dataclass
class Shop:
    """A deployment with one customer, and the worker that answers."""

    deployed: Deployment
    worker: "subprocess.Popen[bytes]"
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def services(self) -> FakeServices:
        return self.deployed.services

    def write(self, text: str) -> None:
        assert self.deployed.post(update(CHAT, next(self.numbers), text)).status_code == 200

    def heard(self) -> list[str]:
        """Return what the customer got; a text of unknown outcome may come twice in a row."""
        texts = self.services.sent(CHAT)
        return [text for text, before in zip(texts, [None, *texts], strict=False) if text != before]

    def hears(self, *texts: str) -> None:
        wait_until(lambda: self.heard()[-len(texts) :] == list(texts), within_s=60)

    def do(self, *command: str) -> None:
        done = self.deployed.mirt(*command)
        assert done.returncode == 0, done.stderr

    def kill_worker(self) -> None:
        """Kill the worker with its processes, and start another one."""
        kill_tree(self.worker.pid)
        self.worker.wait()
        self.worker = self.deployed.start("worker")

    def is_quiet(self) -> bool:
        """Whether nothing is left to do."""
        open_tasks = "SELECT count(*) FROM tasks WHERE due_at IS NOT NULL AND state <> 'delayed'"
        return bool(self.deployed.rows(open_tasks)[0][0] == 0)

    def waits(self, number: int) -> None:
        """Wait until so many messages wait in the mailbox."""
        query = "SELECT count(*) FROM inbox WHERE state = 'waiting'"
        wait_until(lambda: self.deployed.rows(query)[0][0] == number)

    def state(self) -> str | None:
        [[state]] = self.deployed.rows("SELECT handover_state FROM conversations")
        return None if state is None else str(state)


@pytest.fixture
def shop(deployed: Deployment) -> Iterator[Shop]:
    with open_shop(deployed) as opened:
        yield opened


@contextmanager
def open_shop(deployed: Deployment) -> Iterator[Shop]:
    environment = {**deployed.environment, "STAFF_CHAT_ID": STAFF_CHAT, "LEASE_SECONDS": "2"}
    deployed.environment = environment
    deployed.web()
    worker = deployed.start("worker")
    wait_until(
        lambda: deployed.rows("SELECT count(*) FROM workers")[0][0] > 0, within_s=START_WITHIN_S
    )
    yield Shop(deployed, worker)


def ask_for_a_person(services: FakeServices) -> None:
    """Have the agent ask for a person when the customer says so, and else echo."""

    def asks(messages: list[dict[str, str]]) -> list[tuple[str, str]]:
        wants = "людину" in messages[-1]["content"]
        return [("ask_a_person", json.dumps({"reason": "просить людину"}))] if wants else []

    services.llm.calls = asks


KILLS: dict[str, Callable[[Shop], None]] = {
    "nothing is killed": lambda _shop: None,
    "the worker is killed at each step": Shop.kill_worker,
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_customer_hears_the_bot_then_the_person_then_the_bot(
    shop: Shop, kill: Callable[[Shop], None]
) -> None:
    ask_for_a_person(shop.services)
    shop.write("Хочу людину")
    kill(shop)
    shop.hears("echo: Хочу людину")
    wait_until(lambda: shop.services.sent(STAFF_CHAT), within_s=60)
    wait_until(shop.is_quiet, within_s=60)
    assert shop.state() == "asked"

    shop.do("takeover", str(CHAT))
    shop.write("Ви тут?")
    kill(shop)
    shop.do("say", str(CHAT), "Так, я Олена")
    kill(shop)
    shop.hears("Так, я Олена")
    shop.write("Де моє замовлення?")
    shop.do("say", str(CHAT), "Вже їде")
    kill(shop)
    shop.hears("Так, я Олена", "Вже їде")
    shop.write("Дякую")
    shop.write("А шапки є?")
    shop.waits(2)
    kill(shop)
    shop.do("handback", str(CHAT))
    kill(shop)
    shop.hears("echo: Дякую\nА шапки є?")
    wait_until(shop.is_quiet, within_s=60)

    assert shop.heard() == [
        "echo: Хочу людину",
        "Так, я Олена",
        "Вже їде",
        "echo: Дякую\nА шапки є?",
    ]
    last = shop.services.requests("llm")[-1].body["messages"]
    told = [message["content"] for message in last if message["role"] != "system"]
    assert told[1:] == [
        "echo: Хочу людину",
        "Ви тут?",
        "Так, я Олена",
        "Де моє замовлення?",
        "Вже їде",
        "Дякую",
        "А шапки є?",
    ]
    assert shop.deployed.dead_letters() == []
    assert shop.state() is None


def test_an_answer_that_comes_after_the_takeover_is_paid_and_not_sent(shop: Shop) -> None:
    shop.services.misbehave("llm", Hang())
    shop.write("Привіт")
    wait_until(lambda: shop.services.requests("llm"))
    shop.do("takeover", str(CHAT))
    shop.do("say", str(CHAT), "Це Олена")
    shop.services.release()
    stored = "SELECT state FROM deliveries ORDER BY said_by NULLS LAST"
    wait_until(lambda: [row[0] for row in shop.deployed.rows(stored)] == ["sent", "withheld"])
    wait_until(shop.is_quiet)
    assert shop.services.sent(CHAT) == ["Це Олена"]
    assert len(shop.services.requests("llm")) == 1


def test_a_part_on_its_way_arrives_before_the_person_and_no_part_after(shop: Shop) -> None:
    shop.services.llm.reply = lambda _: f"{'a' * 4000}\n\n{'b' * 4000}"
    held = shop.services.misbehave("telegram", Hang(), path="/sendMessage")
    shop.write("Розкажіть усе")
    wait_until(lambda: held.used)
    shop.do("takeover", str(CHAT))
    shop.do("say", str(CHAT), "Це Олена")
    shop.services.release()
    shop.hears("Це Олена")
    wait_until(shop.is_quiet)
    assert [text[0] for text in shop.heard()] == ["a", "Ц"]


def test_a_worker_that_dies_while_a_part_is_on_its_way_leaves_the_rest_unsaid(shop: Shop) -> None:
    shop.services.llm.reply = lambda _: f"{'a' * 4000}\n\n{'b' * 4000}"
    held = shop.services.misbehave("telegram", Hang(), path="/sendMessage")
    shop.write("Розкажіть усе")
    wait_until(lambda: held.used)
    shop.do("takeover", str(CHAT))
    shop.do("say", str(CHAT), "Це Олена")
    shop.kill_worker()
    shop.services.release()
    shop.hears("Це Олена")
    wait_until(shop.is_quiet, within_s=60)
    assert [text[0] for text in shop.heard()] == ["a", "Ц"]
    unknown = "SELECT sum(unknown) FROM deliveries WHERE said_by IS NULL"
    assert shop.deployed.rows(unknown)[0][0] == 1


def test_a_reply_of_a_person_survives_the_death_of_the_worker_that_sends_it(shop: Shop) -> None:
    shop.write("Привіт")
    shop.hears("echo: Привіт")
    shop.do("takeover", str(CHAT))
    held = shop.services.misbehave("telegram", Hang(), match="Олена", path="/sendMessage")
    shop.do("say", str(CHAT), "Це Олена")
    shop.do("say", str(CHAT), "Чим допомогти?")
    wait_until(lambda: held.used)
    shop.kill_worker()
    shop.services.release()
    shop.hears("Це Олена", "Чим допомогти?")
    wait_until(shop.is_quiet, within_s=60)
    assert shop.heard() == ["echo: Привіт", "Це Олена", "Чим допомогти?"]
