"""A task that no worker could keep within its limits is refused where it is declared."""

import pytest

import middleware.policy as policy
from broker.task import Task, TaskLimitsError, UnknownTaskError, registry, task


def declare(name: str) -> None:
    def function() -> None: ...

    function.__name__ = name
    task(function)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, policy.TaskPolicy]:
    """The policy table and the declared tasks; those of the test are forgotten afterwards."""
    tasks: dict[str, policy.TaskPolicy] = policy.TASKS  # type: ignore[assignment]
    monkeypatch.setattr(registry, "actors", dict[str, Task[..., object]]())
    for name in ("remind", "dream"):
        monkeypatch.setitem(tasks, name, policy._task(name, "default"))
    return tasks


def test_a_task_of_three_minutes_is_refused_with_what_to_do_instead(
    table: dict[str, policy.TaskPolicy],
) -> None:
    table["dream"] = policy._task("dream", "default", limits=(170, 180))
    with pytest.raises(TaskLimitsError, match=r"dream: .*180 s.*120 s at most.*Cut it into steps"):
        declare("dream")
    assert "dream" not in registry.actors


def test_a_hard_limit_that_comes_before_the_soft_one_is_refused(
    table: dict[str, policy.TaskPolicy],
) -> None:
    table["dream"] = policy._task("dream", "default", limits=(20, 10))
    with pytest.raises(TaskLimitsError, match="soft limit 20 s, hard limit 10 s"):
        declare("dream")


def test_a_task_without_a_line_in_the_table_is_refused() -> None:
    with pytest.raises(UnknownTaskError, match=r"nobody_knows: add a line"):
        declare("nobody_knows")


def test_a_task_within_its_limits_is_declared(table: dict[str, policy.TaskPolicy]) -> None:
    declare("remind")
    assert "remind" in registry.actors
