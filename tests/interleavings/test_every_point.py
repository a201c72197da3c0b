"""G1–G5, G7, G9: a worker that is lost after any step leaves nothing undone and nothing done twice.

It is killed, or it is held still for longer than its lease and goes on when another worker has done
the rest.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mirt.texts import FOLLOWUP_TEXTS, NO_MORE_FOLLOWUPS
from tests.fakes import FakeServices
from tests.interleavings.stage import Stage, Worker, forking, stage
from tests.interleavings.work import CHAT, PARTS, WORKS
from tests.polling import wait_until

STORED: Final = "process_and_respond: after commit 2"
"""From here on the completion of the turn is paid for and stored."""
POINTS: Final = [(work, step) for work, found in WORKS.items() for step in found.steps]
DANGEROUS: Final = (
    "commit 2",
    "/chat/completions 1",
    "/sendMessage 1",
    "commit 3",
    "/api/orders 1",
)
"""Steps of a turn or an order after which every run has a worker that comes back late."""
COMES_BACK: Final = [
    pytest.param(
        work,
        step,
        marks=() if work != "follow-up" and step.endswith(DANGEROUS) else pytest.mark.slow,
    )
    for work, step in POINTS
]


@pytest.fixture(scope="module")
def zygote() -> Iterator["subprocess.Popen[str]"]:
    with forking() as process:
        yield process


@pytest.fixture
def here(
    zygote: "subprocess.Popen[str]", services: FakeServices, tmp_path: Path, database_url: str
) -> Iterator[Stage]:
    with stage(zygote, services, tmp_path, database_url) as opened:
        yield opened


def after(step: str) -> str:
    return step.replace(": ", ": after ")


def lose(here: Stage, work: str, step: str, how: str) -> Worker:
    """Prepare the work, and begin it in a process that is lost after the step."""
    WORKS[work].prepare(here)
    here.pass_time()
    lost = here.work(stop_at=after(step), how=how)
    wait_until(lambda: lost.state != "running", within_s=90, what=f"{step} is reached")
    assert lost.points[-1] == after(step)
    return lost


@pytest.mark.parametrize("work", WORKS)
def test_the_table_has_every_step_of_the_work(here: Stage, work: str) -> None:
    WORKS[work].prepare(here)
    here.pass_time()
    worker = here.work()
    wait_until(here.is_done, within_s=90)
    steps = list(WORKS[work].steps)
    wait_until(lambda: after(steps[-1]) in worker.points, within_s=90)
    tasks = {step.partition(":")[0] for step in steps}
    passed = [point.replace(": after ", ": ") for point in worker.points if ": after " in point]
    assert list(dict.fromkeys(one for one in passed if one.partition(":")[0] in tasks)) == steps


@pytest.mark.parametrize(("work", "step"), POINTS)
def test_the_work_of_a_worker_that_is_killed_after_a_step_is_done_once(
    here: Stage, work: str, step: str
) -> None:
    lost = lose(here, work, step, "SIGKILL")
    here.finish()
    assert_kept(here, work, lost.points)


@pytest.mark.parametrize(("work", "step"), COMES_BACK)
def test_a_worker_that_goes_on_after_its_lease_ended_changes_nothing(
    here: Stage, work: str, step: str
) -> None:
    late = lose(here, work, step, "SIGSTOP")
    passed = late.points
    here.finish()
    late.resume()
    task = step.partition(":")[0]
    wait_until(lambda: f"{task}: after acknowledgement 1" in late.points, within_s=60)
    assert here.is_done()
    assert_kept(here, work, passed)


def assert_kept(here: Stage, work: str, passed: list[str]) -> None:
    """Assert the promises of this work, whose worker was lost when it had passed these points."""
    assert here.rows("SELECT * FROM dead_letters") == []
    assert here.rows("SELECT head_task_id FROM conversations") == [(None,)]
    assert here.rows("SELECT 1 FROM inbox WHERE state <> 'answered'") == []
    if work == "follow-up":
        assert_sent(here, FOLLOWUP_TEXTS[0])
        lines = here.rows("SELECT count(*) FROM history WHERE role = 'assistant'")
        assert lines == [(1,)], "the LLM knows the follow-up once"
        assert here.rows("SELECT followups_taken FROM conversations") == [(1,)]
        return
    assert_sent(here, *PARTS, NO_MORE_FOLLOWUPS)
    questions = len(here.services.requests("llm"))
    assert questions == 1 or (questions == 2 and STORED not in passed), "paid twice"
    [(state, unknown)] = here.rows("SELECT state, unknown FROM orders")
    assert state == "created"
    assert len(here.services.crm.orders) == 1, f"ordered twice, unknown {unknown}"


def assert_sent(here: Stage, *texts: str) -> None:
    """Assert that the texts came in this order, each once; twice only if one is unknown."""
    got = [text for text in here.services.sent(CHAT) if text in texts]
    assert list(dict.fromkeys(got)) == list(texts)
    [(unknown,)] = here.rows("SELECT coalesce(sum(unknown), 0) FROM deliveries")
    assert len(got) - len(texts) <= unknown
