"""Metrics add up over processes, and counters only grow, however the processes end."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from mirt.observe.metrics import REGISTER
from tests.deployment import Deployment, children, update
from tests.polling import wait_until
from tests.scrape import Scrape, checked_by_promtool
from tests.servers.ports import free_port


@contextmanager
def scraped(*ports: int) -> Iterator[list[str]]:
    """Scrape these all the while; what has fallen between two scrapes."""
    fallen: list[str] = []
    over = threading.Event()

    def look() -> None:
        last = {port: Scrape.at(port) for port in ports}
        while not over.wait(0.02):
            for port in ports:
                try:
                    now = Scrape.at(port)
                except httpx.TransportError:
                    continue  # the process that answered has just been killed
                fallen.extend(now.fallen_since(last[port]))
                last[port] = now

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield fallen
    finally:
        over.set()
        thread.join()


def answers(port: int) -> bool:
    try:
        return bool(Scrape.at(port).samples)
    except httpx.TransportError:
        return False


def finished(port: int) -> float:
    return Scrape.at(port).sum("mirt_messages_finished_total", outcome="done")


def recycled(port: int) -> float:
    return Scrape.at(port).sum("mirt_worker_recycles_total")


def at_rest(port: int, **gauges: float) -> Scrape | None:
    """Return a scrape if its gauges have these sums, else None."""
    now = Scrape.at(port)
    return now if all(now.sum(name) == value for name, value in gauges.items()) else None


def write(deployed: Deployment, *, chats: range) -> None:
    answers_ = deployed.post_all([update(chat, 1, "Привіт") for chat in chats])
    assert {answer.status_code for answer in answers_} == {200}
    wait_until(lambda: all(deployed.services.sent(chat) for chat in chats), within_s=60)


def files(deployed: Deployment) -> list[str]:
    return sorted(str(file) for file in deployed.logs.glob("mirt-*/**/*.db"))


def test_counters_add_up_over_workers_that_are_killed_and_recycled(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "10", "WORKER_THREADS": "4"}
    port = free_port()
    worker = deployed.start("worker", "llm", "--processes", "2", "--metrics-port", str(port))
    web = deployed.web()
    wait_until(lambda: answers(port) and Scrape.at(port).sum("mirt_worker_threads") == 8)

    deployed.post(update(1, 1, "Привіт"))
    deployed.post(update(1, 1, "Привіт"))
    wait_until(lambda: finished(port) == 1)
    with scraped(port, deployed.port) as fallen:
        write(deployed, chats=range(2, 101))
        wait_until(lambda: Scrape.at(port).sum("mirt_worker_recycles_total", why="tasks") >= 2)
        victim = children(worker)[-1]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: Scrape.at(port).sum("mirt_worker_deaths_total") == 1)
        os.kill(children(web)[0], signal.SIGKILL)
        wait_until(deployed.is_alive)
        write(deployed, chats=range(101, 151))
        wait_until(lambda: finished(port) == 150)
        # Children that are due go on giving way to their successors.
        work = wait_until(
            lambda: at_rest(port, mirt_worker_threads=8, mirt_worker_threads_busy=0), within_s=30
        )
        ingress = wait_until(lambda: at_rest(deployed.port, mirt_processes=2), within_s=30)
    assert fallen == []

    # A busy machine answers 503 to some, stores them all the same, and finds the next try a
    # duplicate. So neither outcome has a fixed count, but every answer is counted, and once.
    assert deployed.rows("SELECT count(*) FROM inbox") == [(150,)]
    answered = [
        ingress.sum("mirt_webhooks_total", outcome=one) for one in ("accepted", "duplicate")
    ]
    assert sum(answered) == deployed.statuses.count(200)
    assert answered[1] >= 1
    assert ingress.sum("mirt_webhooks_total") == len(deployed.statuses)
    counted = ingress.sum("mirt_http_request_seconds_count", route="/webhooks/telegram")
    assert counted == len(deployed.statuses)
    assert work.sum("mirt_deliveries_total", channel="telegram", outcome="sent") == 150
    assert work.sum("mirt_turn_seconds_count") == 150
    assert work.sum("mirt_message_wait_seconds_count", channel="telegram") == 150
    assert work.sum("mirt_agent_seconds_count", call="answer", outcome="answered") == 150
    assert work.sum("mirt_llm_tokens_total", kind="completion") > 0
    assert work.sum("mirt_worker_deaths_total", why="SIGKILL") == 1
    assert work.sum("mirt_process_starts_total") >= 5
    wait_until(lambda: Scrape.at(deployed.port).sum("mirt_rabbitmq_consumers", queue="llm") == 2)


@pytest.mark.slow
def test_there_are_no_more_files_than_there_were_processes_at_once(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "1", "WORKER_THREADS": "1"}
    port = free_port()
    worker = deployed.start("worker", "llm", "--metrics-port", str(port))
    deployed.web()
    for number in range(1, 7):
        write(deployed, chats=range(number, number + 1))
        wait_until(lambda: recycled(port) == number)  # noqa: B023 - it is over within the loop
    wait_until(lambda: finished(port) == 6)
    # The parent, the child, its successor and the one that is leaving.
    mine = [file for file in files(deployed) if "mirt-worker" in file]
    assert len(mine) <= 4 * 3, mine
    worker.terminate()
    assert worker.wait(20) == 0
    assert [file for file in files(deployed) if "mirt-worker" in file] == []


def test_every_answer_is_as_prometheus_wants_it_and_says_only_what_is_registered(
    deployed: Deployment,
) -> None:
    port = free_port()
    deployed.start("worker", "--metrics-port", str(port))
    deployed.web()
    wait_until(lambda: answers(port))
    write(deployed, chats=range(1, 3))
    for one in (port, deployed.port):
        text = httpx.get(f"http://127.0.0.1:{one}/metrics").text
        assert checked_by_promtool(text) in {None, ""}
        for name, kind in Scrape.of(text).kinds.items():
            bare = name
            if kind == "histogram":
                bare = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert bare in REGISTER, name


def exporter_of(parent: int) -> psutil.Process:
    """The first process that a parent has started."""
    return min(psutil.Process(parent).children(), key=lambda child: child.create_time())


@pytest.mark.slow
def test_the_metrics_server_is_replaced_and_dies_with_its_parent(deployed: Deployment) -> None:
    port = free_port()
    worker = deployed.start("worker", "llm", "--metrics-port", str(port))
    wait_until(lambda: answers(port) and Scrape.at(port).sum("mirt_processes") == 1)
    first = exporter_of(worker.pid)
    first.kill()
    wait_until(lambda: answers(port))
    assert Scrape.at(port).sum("mirt_processes") == 1
    worker.kill()
    wait_until(lambda: not answers(port))


def test_the_metrics_server_does_not_keep_a_worker_from_its_end(deployed: Deployment) -> None:
    worker = deployed.start("worker", "llm", "--metrics-port", str(port := free_port()))
    wait_until(lambda: answers(port) and Scrape.at(port).sum("mirt_processes") == 1)
    exporter_of(worker.pid).suspend()
    worker.terminate()
    assert worker.wait(15) == 0


@pytest.mark.slow
def test_a_port_that_is_taken_is_no_reason_not_to_work(deployed: Deployment) -> None:
    deployed.web()
    deployed.start("worker", "llm", "--metrics-port", str(deployed.port))
    write(deployed, chats=range(1, 2))
    wait_until(lambda: "metrics_not_served" in deployed.log_text())


def test_the_scheduler_serves_them_too_and_leaves_nothing(deployed: Deployment) -> None:
    port = free_port()
    deployed.environment = {**deployed.environment, "METRICS_PORT": str(port)}
    scheduler = deployed.start("scheduler")
    wait_until(lambda: answers(port))
    wait_until(lambda: "periodiq" in " ".join(psutil.Process(scheduler.pid).cmdline()))
    assert "mirt_process_starts_total" in {name for name, _ in Scrape.at(port).samples}
    folder: Callable[[], list[str]] = lambda: [f for f in files(deployed) if "scheduler" in f]  # noqa: E731
    wait_until(folder)
    scheduler.kill()
    wait_until(lambda: not answers(port) and not folder())


def test_a_server_that_cannot_be_asked_leaves_the_other_metrics_readable(
    deployed: Deployment,
) -> None:
    deployed.environment = {
        **deployed.environment,
        "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}/%2F",
    }
    deployed.web()
    found = Scrape.at(deployed.port)
    assert found.sum("mirt_source_readable", source="rabbitmq") == 0
    assert found.sum("mirt_source_readable", source="database") == 1
    assert ("mirt_mailbox_messages", frozenset()) in found.samples
    assert not [name for name, _ in found.samples if name.startswith("mirt_rabbitmq")]
