"""``mirt inspect active``: the running tasks."""

from typing import TYPE_CHECKING, Any

from mirt.clock import format_duration
from service.cli.output import AsJson, Column, Row, emit, table

if TYPE_CHECKING:
    from service.admin.queues import Activity, RunView


def active(*, as_json: AsJson = False) -> None:
    """Show running tasks: worker, conversation, duration, and number of the attempt."""
    from service.admin.queues import activity
    from service.cli.context import read_only

    with read_only() as context:
        now = activity(context)
    living = {view.worker.id for view in now.workers}
    if as_json:
        emit({"at": now.at, "active": [_as_object(run, living) for run in now.runs]})
        return
    _table(now)


def _table(now: "Activity") -> None:
    living = {view.worker.id for view in now.workers}
    columns = (
        Column("TASK"),
        Column("CONVERSATION"),
        Column("RUNNING", "right"),
        Column("LIMIT", "right", spare=2),
        Column("ATTEMPT", "right", spare=1),
        Column("WORKER", spare=3),
        Column("TASK ID", style="dim"),
    )
    rows: list[Row] = [
        (
            (
                run.task,
                run.session_id,
                format_duration(run.running_s),
                format_duration(run.soft_s),
                run.attempt,
                _worker_of(run, living),
                run.task_id,
            ),
            "yellow" if run.is_late else None,
        )
        for run in now.runs
    ]
    table(columns, rows, empty="nothing runs")


def _worker_of(run: "RunView", living: set[str]) -> str:
    if run.worker_id is None:
        return "-"
    # Without the random part, which tells an operator nothing.
    name = run.worker_id.rpartition(":")[0] or run.worker_id
    return name if run.worker_id in living else f"{name} (gone)"


def _as_object(run: "RunView", living: set[str]) -> dict[str, Any]:
    return {
        **{name: getattr(run, name) for name in type(run).__slots__},
        "is_late": run.is_late,
        "is_worker_gone": run.worker_id is not None and run.worker_id not in living,
    }
