"""While a service refuses everybody its work waits in one place, whatever dies meanwhile."""

from typing import Final

import pytest

from tests.deployment import Deployment, kill_tree, update
from tests.fakes import Misbehaviour, Status
from tests.fakes.telegram import refusal
from tests.polling import wait_until

CHATS: Final = range(1, 31)
NO_CREDITS: Final = Status(402, {"error": {"code": 402, "message": "Insufficient credits"}})


def problem_of(deployed: Deployment) -> dict[str, str]:
    """Return the first problem that an operator is told."""
    problems = deployed.json("inspect", exit_code=1)["problems"]
    first: dict[str, str] = problems[0]
    return first


@pytest.mark.parametrize(
    ("api", "failure", "told", "cure"),
    [
        ("llm", NO_CREDITS, "the LLM refuses (402 Insufficient credits) since", "LLM_API_KEY"),
        (
            "telegram",
            refusal(401, "Unauthorized"),
            "Telegram refuses (401 Unauthorized) since",
            "TELEGRAM_BOT_TOKEN",
        ),
    ],
    ids=["no credits", "a wrong token"],
)
def test_work_waits_for_a_service_that_is_down_and_goes_on_by_itself(
    deployed: Deployment, api: str, failure: Misbehaviour, told: str, cure: str
) -> None:
    deployed.services.misbehave(api, failure, times=None)
    workers = [deployed.start("worker") for _ in range(2)]
    deployed.web()
    deployed.post_all([update(chat, 1, "Є сукня?") for chat in CHATS])
    held = f"SELECT 1 FROM tasks WHERE held_by = '{api}' AND state = 'delayed'"
    wait_until(lambda: len(deployed.rows(held)) >= len(CHATS) - 1)
    problem = problem_of(deployed)
    assert problem["what"].startswith(told)
    assert problem["what"].endswith(f"{len(CHATS)} conversations wait")
    assert cure in problem["command"]
    assert f'mirt_holds{{service="{api}"}}' in deployed.get("/metrics").text

    kill_tree(workers[0].pid)
    deployed.services.mend(api)
    wait_until(lambda: all(deployed.services.sent(chat) for chat in CHATS), within_s=120)
    for chat in CHATS:
        assert deployed.services.sent(chat) == ["echo: Є сукня?"]
    assert deployed.rows("SELECT * FROM dead_letters") == []
    assert deployed.rows("SELECT 1 FROM tasks WHERE held_by IS NOT NULL") == []
    if api == "telegram":
        assert len(deployed.services.completions()) == len(CHATS), "each reply is paid for once"
