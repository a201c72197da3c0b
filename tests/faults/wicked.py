"""Tasks that do harm, and a worker that knows them: ``python -m tests.faults.wicked parent|child``.

``effect`` is their innocent neighbour: each run of it leaves a request at the fake world.
"""

import os
import sys
from typing import Any

import httpx

import middleware.policy as policy
from broker.task import task

for name in ("abort", "effect"):
    policy.TASKS[name] = policy._task(name, "default", limits=(50, 60))  # type: ignore[index]


@task()
def abort() -> dict[str, Any]:
    """Take the whole process down, as a crash in a C library does."""
    os.abort()


@task()
def effect(number: int) -> dict[str, Any]:
    """Something that is done once."""
    base = os.environ["TELEGRAM_API_URL"]
    body = {"chat_id": number, "text": "done"}
    httpx.post(f"{base}/bot123456:token/sendMessage", json=body, timeout=10).raise_for_status()
    return {"status": "done"}


def _parent() -> int:
    from service.processes.parent import Parent
    from service.processes.startup import read_settings

    return Parent(
        read_settings(),
        queues=["default"],
        processes=1,
        threads=8,
        grace_s=10,
        child="tests.faults.wicked",
    ).run()


if __name__ == "__main__":
    if sys.argv[1] == "parent":
        sys.exit(_parent())
    from service.processes import child

    sys.exit(child.main(sys.argv[1:]))
