"""``mirt inspect registered``: every task with its queue, limits, retries and schedule."""

from typing import Any

from service.cli.output import AsJson, Column, Row, emit, moment, table


def registered(*, as_json: AsJson = False) -> None:
    """Show every task with its queue, limits, retries, and its next time in the schedule."""
    from middleware.policy import QUEUES, TASKS
    from service.admin.schedule import schedule
    from service.cli.context import read_only

    with read_only() as context:
        ticks = {entry.task: entry for entry in schedule(context)}
    if as_json:
        tasks = [{**_policy(task), "tick": ticks.get(task.name)} for task in TASKS.values()]
        emit({"queues": list(QUEUES.values()), "tasks": tasks})
        return
    columns = (
        Column("TASK"),
        Column("QUEUE"),
        Column("SOFT/HARD s", "right"),
        Column("RETRIES", "right", spare=1),
        Column("PAUSE ≤ s", "right", spare=3),
        Column("SCHEDULE", spare=2),
        Column("NEXT TICK (UTC)", spare=1),
        Column("LAST TICK", spare=4),
        Column("ITS RUN", spare=5),
    )
    rows: list[Row] = []
    for task in TASKS.values():
        tick = ticks.get(task.name)
        rows.append(
            (
                (
                    task.name,
                    task.queue,
                    f"{task.soft_s:g}/{task.hard_s:g}",
                    task.retries,
                    f"{task.max_backoff_s:g}",
                    _line(task),
                    moment(tick.next_at) if tick else "",
                    moment(tick.last_at) if tick else "",
                    tick.last_run.in_words if tick and tick.last_run else "",
                ),
                "yellow" if tick and tick.is_late else None,
            )
        )
    table(columns, rows, empty="no task is registered")


def _line(task: Any) -> str:
    """Return the cron line of a task, with its zone unless that is UTC; empty without one."""
    zone = "" if task.tz == "UTC" else f" {task.tz}"
    return f"{task.schedule}{zone}" if task.schedule else ""


def _policy(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in type(task).__slots__}
