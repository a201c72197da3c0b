"""What there is: every task, with what is allowed to it and when it runs by itself."""

from typing import Any

from service.cli.context import read_only
from service.cli.output import AsJson, Column, Row, emit, moment, table


def registered(*, as_json: AsJson = False) -> None:
    """Every task with its queue, limits, retries, and when the schedule runs it next."""
    from middleware.policy import QUEUES, TASKS
    from service.admin.schedule import schedule

    with read_only() as context:
        ticks = {one.task: one for one in schedule(context)}
    if as_json:
        emit(
            {
                "queues": list(QUEUES.values()),
                "tasks": [{**_policy(one), "tick": ticks.get(one.name)} for one in TASKS.values()],
            }
        )
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
    )
    rows: list[Row] = []
    for one in TASKS.values():
        tick = ticks.get(one.name)
        rows.append(
            (
                (
                    one.name,
                    one.queue,
                    f"{one.soft_s:g}/{one.hard_s:g}",
                    one.retries,
                    f"{one.max_backoff_s:g}",
                    one.schedule or "",
                    moment(tick.next_at) if tick else "",
                    moment(tick.last_at) if tick else "",
                ),
                "yellow" if tick and tick.is_late else None,
            )
        )
    table(columns, rows, empty="no task is registered")


def _policy(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in type(task).__slots__}
