"""Compares recycling after every 10 messages with none, in turns a second of two processes.

All messages are queued before the start, and the LLM answers at once, so a process soon has its 10
messages. It is due then, and works until its successor is ready. The output also has the number
of messages that each process really had.
"""

import re
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.deployment import Deployment, deployment
from tests.fakes import FakeServices
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis, Servers, start_servers

MESSAGES = 2_000
ROUNDS = 2
THREADS = "8"
NEVER, OFTEN = "1000000", "10"


@dataclass
class Run:
    """Seconds of all messages, messages of each recycled process, and replies of each chat."""

    seconds: float
    finished: list[int]
    replies: Counter[str]
    """Number of replies for each chat. The chats are 1 to ``MESSAGES``, with one reply each."""


def replies(services: FakeServices) -> int:
    return len(services.telegram.sent)


def measure(servers: Servers, max_tasks: str) -> Run:
    """Measure from the first reply to the last, with all messages queued before the start."""
    with ExitStack() as stack:
        urls = {
            "RABBITMQ_URL": stack.enter_context(servers.get(RabbitMQ).isolated()),
            "REDIS_URL": stack.enter_context(servers.get(Redis).isolated()),
            "DATABASE_URL": stack.enter_context(servers.get(Postgres).isolated()),
        }
        services = stack.enter_context(FakeServices())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"WORKER_MAX_TASKS": max_tasks, "WORKER_THREADS": THREADS}
        deployed = stack.enter_context(deployment(services, logs, urls, **settings))
        queue(deployed)
        deployed.start("worker", "llm", "--processes", "2")
        wait_until(lambda: replies(services) > 0)
        began = monotonic()
        wait_until(lambda: replies(services) >= MESSAGES, within_s=300)
        seconds = monotonic() - began
        finished = re.findall(r"worker_recycled.*?finished\S*?=\D*(\d+)", deployed.log_text())
        wait_until(lambda: not deployed.rows("SELECT 1 FROM tasks WHERE state <> 'done' LIMIT 1"))
        got = Counter(chat for _, chat, _ in services.replies())
    return Run(seconds, [int(count) for count in finished], got)


def queue(deployed: Deployment) -> None:
    """Send one message from each of ``MESSAGES`` customers."""
    deployed.python(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import structlog\n"
        "from service.dispatcher import dispatch_message\n"
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger('warning'))\n"
        "def send(n): dispatch_message(n, 'Привіт', chat_id=n, fire_and_forget=True)\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        f"    list(threads.map(send, map(str, range(1, {MESSAGES} + 1))))\n"
    )


def main() -> None:
    """Measure both in turn and print the ratio."""
    servers = start_servers(print)
    try:
        runs = [(measure(servers, NEVER), measure(servers, OFTEN)) for _ in range(ROUNDS)]
    finally:
        servers.close()
    never, often = (
        ROUNDS * MESSAGES / sum(run.seconds for run in kind) for kind in zip(*runs, strict=True)
    )
    had = sorted(count for _, run in runs for count in run.finished)
    print(f"never recycled         {never:>8,.0f} messages/s")
    print(f"recycled, due after 10 {often:>8,.0f} messages/s   {often / never:.2f} of it")
    print(f"{len(had)} processes recycled, each after {had[0]} to {had[-1]} messages")


if __name__ == "__main__":
    main()
