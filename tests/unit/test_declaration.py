"""A mistake in the declaration of a task, or in its options, is refused before anything runs."""

from datetime import timedelta
from typing import Any

import pytest
from dramatiq import Message

import middleware.policy as policy
from actors.health import ping
from broker.task import (
    DRAMATIQ_OPTIONS,
    MissingActorError,
    Task,
    TaskLimitsError,
    TaskOptions,
    TaskRegistry,
    UnknownTaskError,
    registry,
    task,
)


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


@pytest.mark.parametrize(
    "line",
    [
        "soon",
        "* * * *",
        "* * * * * *",
        "@sometimes",
        "60 * * * *",
        "0 24 * * *",
        "0 0 32 13 *",
        "0 0 * * 8",
        "*/0 * * * *",
        "20-10 * * * *",
    ],
)
def test_a_schedule_that_is_no_cron_line_is_refused_with_the_name_of_the_task(
    table: dict[str, policy.TaskPolicy], line: str
) -> None:
    table["dream"] = policy._task("dream", "default", schedule=line)
    with pytest.raises(policy.ScheduleError, match=r"dream: .* is no cron line; .* five fields"):
        declare("dream")
    assert "dream" not in registry.actors


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 0 * *", "0 0 * * 0"])
def test_a_schedule_without_any_tick_is_refused_with_the_name_of_the_task(
    table: dict[str, policy.TaskPolicy], line: str
) -> None:
    table["dream"] = policy._task("dream", "default", schedule=line)
    with pytest.raises(policy.ScheduleError, match=r"dream: .* never matches"):
        declare("dream")


@pytest.mark.parametrize("line", ["0 0 29 2 *", "*/15 8-20 * * mon-fri", "0 0 * * 7", "@hourly"])
def test_a_schedule_with_a_tick_is_declared(table: dict[str, policy.TaskPolicy], line: str) -> None:
    table["dream"] = policy._task("dream", "default", schedule=line)
    declare("dream")
    assert str(registry.actors["dream"].options["periodic"]) == line


def test_a_line_in_the_table_without_an_actor_fails_once_all_actors_are_declared(
    table: dict[str, policy.TaskPolicy],
) -> None:
    tasks = TaskRegistry()
    tasks.check()
    tasks.actors.update({name: ping for name in table if name not in {"dream", "remind"}})
    tasks.complete()
    with pytest.raises(MissingActorError, match=r"dream, remind: middleware/policy.py has a line"):
        tasks.check()


def test_the_policy_table_and_the_actors_of_the_product_name_the_same_tasks() -> None:
    registry.check()


def test_an_unknown_option_is_refused_with_its_name() -> None:
    options: dict[str, Any] = {"max_retries": 3, "task_id": "ping-1"}
    with pytest.raises(TypeError, match=r"ping: unknown option max_retries; .*TaskOptions"):
        ping.send_with_options(**options)


def test_every_listed_option_and_those_of_dramatiq_reach_the_message() -> None:
    options: dict[str, Any] = dict.fromkeys([*TaskOptions.__annotations__, *DRAMATIQ_OPTIONS], "x")
    assert ping.message_with_options(**options).options == options


def test_a_delay_may_be_a_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[int | None] = []

    def enqueue(message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        delays.append(delay)
        return message

    monkeypatch.setattr(registry, "enqueue", enqueue)
    ping.send_with_options(delay=timedelta(seconds=5))
    ping.send_with_options(delay=1_000)
    assert delays == [5_000, 1_000]


@pytest.mark.parametrize("zone", ["Mars/Base", "Kyiv", "", "../etc/passwd"])
def test_a_zone_that_does_not_exist_is_refused_with_the_name_of_the_task(zone: str) -> None:
    with pytest.raises(policy.ScheduleError, match=r"dream: '.*' is no time zone"):
        policy._task("dream", "default", schedule="0 9 * * *", tz=zone)


def test_a_schedule_in_a_zone_is_declared(table: dict[str, policy.TaskPolicy]) -> None:
    table["dream"] = policy._task("dream", "default", schedule="0 9 * * *", tz="Europe/Kyiv")
    declare("dream")
    assert str(registry.actors["dream"].options["periodic"]) == "0 9 * * * Europe/Kyiv"


def test_a_wrong_line_in_a_zone_is_refused(table: dict[str, policy.TaskPolicy]) -> None:
    table["dream"] = policy._task("dream", "default", schedule="soon", tz="Europe/Kyiv")
    with pytest.raises(policy.ScheduleError, match=r"dream: .* is no cron line"):
        declare("dream")
