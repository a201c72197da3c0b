"""Tasks that do harm, and their worker: ``python -m tests.faults.misbehaving_tasks parent|child``.

``effect`` and ``neighbour`` are innocent: each run of them leaves a request at the fake world.
"""

import os
import re
import socket
import sys
import time
from typing import Any

import httpx

import middleware.policy as policy
from broker.task import task

LIMITS = {
    "abort": (50.0, 60.0),
    "effect": (50.0, 60.0),
    "neighbour": (50.0, 60.0),
    "compute": (1.0, 20.0),
    "block": (2.0, 3.0),
    "hold_the_gil": (2.0, 3.0),
    "swallow": (2.0, 3.0),
    "hold_the_gil_for_long": (4.0, 5.0),
}
for name, limits in LIMITS.items():
    policy.TASKS[name] = policy._task(name, "default", limits=limits)  # type: ignore[index]


@task
def abort() -> dict[str, Any]:
    """Take the whole process down, as a crash in a C library does."""
    os.abort()


@task
def effect(number: int) -> dict[str, Any]:
    """Something that is done once."""
    base = os.environ["TELEGRAM_API_URL"]
    body = {"chat_id": number, "text": "done"}
    httpx.post(f"{base}/bot123456:token/sendMessage", json=body, timeout=10).raise_for_status()
    return {"status": "done"}


@task
def neighbour(number: int) -> dict[str, Any]:
    """As ``effect``, but not at once: it runs in the process in which others do harm."""
    time.sleep(0.5)
    return effect(number)


@task
def compute() -> dict[str, Any]:
    """Loop in plain Python without end."""
    number = 0
    while True:
        number += 1


@task
def block() -> dict[str, Any]:
    """Wait for a socket that never gets a byte."""
    ours, _theirs = socket.socketpair()
    ours.recv(1)
    return {}


@task
def hold_the_gil() -> dict[str, Any]:
    """A regular expression that backtracks for years, and holds the GIL meanwhile."""
    re.match(r"(a+)+$", "a" * 60 + "b")
    return {}


@task
def hold_the_gil_for_long() -> dict[str, Any]:
    """As ``hold_the_gil``, with more time for it than a lease has."""
    return hold_the_gil()


@task
def swallow() -> dict[str, Any]:
    """Catch whatever is raised, and go on."""
    while True:
        try:
            _count_to_a_million()
        except BaseException:  # noqa: BLE001
            continue


def _count_to_a_million() -> None:
    # An error that is raised from outside comes at a jump back: almost always at one of these.
    for _ in range(1_000_000):
        pass


def _parent() -> int:
    from service.processes.startup import read_settings
    from service.processes.supervisor import Supervisor

    return Supervisor(
        read_settings(),
        queues=["default"],
        processes=1,
        threads=8,
        grace_s=10,
        module="tests.faults.misbehaving_tasks",
    ).run()


if __name__ == "__main__":
    if sys.argv[1] == "parent":
        sys.exit(_parent())
    from service.processes import worker_main

    sys.exit(worker_main.main(sys.argv[1:]))
