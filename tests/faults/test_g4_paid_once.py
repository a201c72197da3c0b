"""G4: a completion that the agent has returned is never asked for again."""

import os
import signal
import time
from dataclasses import replace

from tests.deployment import Deployment, children, update
from tests.fakes import Hang, Status
from tests.polling import wait_until
from tests.servers import Postgres

LEASE_S = 4


def test_a_worker_killed_while_it_delivers_does_not_ask_again(deployed: Deployment) -> None:
    deployed.services.misbehave("telegram", Hang(applied=False))
    worker = deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.requests("telegram"))
    [child] = children(worker)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: len(deployed.services.sent(7)) == 1)
    assert len(deployed.services.requests("llm")) == 1


def test_a_channel_that_fails_is_tried_again_without_asking_again(deployed: Deployment) -> None:
    deployed.services.misbehave("telegram", Status(502), times=2)
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(7))
    assert len(deployed.services.requests("telegram")) == 3
    assert len(deployed.services.requests("llm")) == 1


def test_an_answer_that_comes_while_the_database_is_away_is_kept(
    deployed: Deployment, postgres: Postgres
) -> None:
    deployed.services.misbehave("llm", Hang())
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.requests("llm"))
    postgres.stop()
    deployed.services.release()
    wait_until(lambda: "database_away" in deployed.log_text())
    postgres.start()
    wait_until(lambda: deployed.rows("SELECT 1 FROM deliveries WHERE state = 'sent'"))
    assert len(deployed.services.sent(7)) == 1
    assert len(deployed.services.requests("llm")) == 1


def test_turns_that_wait_for_the_agent_through_an_outage_longer_than_a_lease_are_paid_once(
    deployed: Deployment, postgres: Postgres
) -> None:
    chats = range(1, 13)
    here = replace(deployed, environment={**deployed.environment, "LEASE_SECONDS": str(LEASE_S)})
    for _ in range(2):
        here.start("worker", "llm")
    here.web()
    here.services.latency["llm"] = 3 * LEASE_S
    here.post_all([update(chat, 1, "Привіт") for chat in chats])
    running = "SELECT 1 FROM tasks WHERE state = 'running'"
    wait_until(lambda: len(here.rows(running)) == len(chats))
    postgres.stop()
    time.sleep(1.5 * LEASE_S)  # the outage itself
    postgres.start()
    wait_until(lambda: all(here.services.sent(chat) for chat in chats), within_s=90)
    assert len(here.services.requests("llm")) == len(chats)
    assert here.rows("SELECT DISTINCT fence FROM tasks WHERE actor = 'process_and_respond'") == [
        (1,)
    ]
    assert [len(here.services.sent(chat)) for chat in chats] == [1] * len(chats)


def test_a_summary_that_comes_while_the_database_is_away_is_kept(
    deployed: Deployment, postgres: Postgres
) -> None:
    deployed.start("worker", "llm", "summarization")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.rows("SELECT 1 FROM deliveries WHERE state = 'sent'"))
    deployed.services.misbehave("llm", Hang())
    deployed.python("from service.dispatcher import dispatch_summarization as sum; sum('7')")
    wait_until(lambda: len(deployed.services.requests("llm")) == 2)
    postgres.stop()
    deployed.services.release()
    wait_until(lambda: "database_away" in deployed.log_text())
    postgres.start()
    wait_until(lambda: deployed.rows("SELECT 1 FROM conversations WHERE summary IS NOT NULL"))
    assert len(deployed.services.requests("llm")) == 2
