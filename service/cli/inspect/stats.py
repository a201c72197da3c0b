"""``mirt inspect stats`` and ``queues``: numbers of each queue and worker, also from RabbitMQ."""

from typing import TYPE_CHECKING, Any

from mirt.clock import format_duration
from service.cli.output import AsJson, Cell, Column, Row, emit, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.durable import Depth
    from service.admin.queues import Activity, WorkerView

    Depths = Mapping[str, Depth]


def stats(*, as_json: AsJson = False) -> None:
    """Show the numbers of each queue and of each worker."""
    from service.admin.queues import activity
    from service.cli.context import read_only

    with read_only() as context:
        now = activity(context)
    if as_json:
        emit(
            {
                "at": now.at,
                "queues": now.queues,
                "workers": [_worker_object(one) for one in now.workers],
            }
        )
        return
    _queue_table(now, None)
    say("")
    _worker_table(now)


def queues(*, as_json: AsJson = False) -> None:
    """Show the queues as the database counts them, and as RabbitMQ does."""
    from service.admin.queues import activity
    from service.cli.context import read_only

    with read_only() as context:
        now = activity(context)
        settings = context.settings
    depths = None
    if settings.rabbitmq_url is not None:
        from broker.rabbitmq.connection import ConnectionSettings
        from broker.rabbitmq.depths import read_depths
        from broker.rabbitmq.queues import rejects_name

        names = [name for queue in now.queues for name in (queue.name, rejects_name(queue.name))]
        depths = read_depths(ConnectionSettings.of(settings), names)
    if as_json:
        emit({"at": now.at, "queues": [_with_depth(queue, depths) for queue in now.queues]})
        return
    _queue_table(now, depths)


def _queue_table(now: "Activity", depths: "Depths | None") -> None:
    columns = [
        Column("QUEUE"),
        Column("READY", "right"),
        Column("RUNNING", "right", spare=2),
        Column("DELAYED", "right", spare=3),
        Column("DEAD", "right"),
        Column("DONE/min", "right", spare=4),
        Column("OLDEST", "right", spare=1),
        Column("WORKERS", "right"),
    ]
    if depths is not None:
        columns += [Column("RABBITMQ", "right"), Column("CONSUMERS", "right")]
        columns += [Column("REJECTS", "right")]
    rows: list[Row] = []
    for queue in now.queues:
        numbers = _with_depth(queue, depths)
        cells: list[Cell] = [
            queue.name,
            queue.ready,
            queue.running,
            queue.delayed,
            queue.dead,
            queue.done_per_minute,
            format_duration(queue.oldest_wait_s) if queue.oldest_wait_s else "",
            queue.workers,
        ]
        if depths is not None:
            cells += [numbers["rabbitmq_ready"], numbers["rabbitmq_consumers"]]
            cells.append(numbers["rabbitmq_rejects"])
        stuck = queue.ready and not queue.workers
        rows.append((cells, "red" if stuck else "yellow" if queue.dead else None))
    table(columns, rows, empty="no queue")


def _worker_table(now: "Activity") -> None:
    columns = (
        Column("HOST"),
        Column("PID", "right"),
        Column("UPTIME", "right"),
        Column("BUSY", "right"),
        Column("DONE", "right", spare=1),
        Column("MB", "right", spare=2),
        Column("SEEN", "right", spare=3),
        Column("QUEUES", cut_to=16),
    )
    rows: list[Row] = [
        (
            (
                one.worker.host,
                one.worker.pid,
                format_duration(one.uptime_s),
                f"{one.busy}/{one.worker.threads}",
                one.worker.finished,
                one.worker.memory_mb,
                f"{one.seen_s_ago:.0f} s ago",
                "stopping" if one.worker.stopping else ", ".join(one.worker.queues),
            ),
            "dim" if one.worker.stopping else None,
        )
        for one in now.workers
    ]
    table(columns, rows, empty="no worker is running: mirt worker (embedded: mirt up)")


def _worker_object(view: "WorkerView") -> dict[str, Any]:
    worker = view.worker
    return {
        **{name: getattr(worker, name) for name in type(worker).__slots__},
        "busy": view.busy,
        "uptime_s": view.uptime_s,
        "seen_s_ago": view.seen_s_ago,
    }


def _with_depth(queue: Any, depths: "Depths | None") -> dict[str, Any]:
    own = {name: getattr(queue, name) for name in type(queue).__slots__}
    here = depths.get(queue.name) if depths else None
    rejects = depths.get(f"{queue.name}.dead") if depths else None
    return {
        **own,
        "rabbitmq_ready": here.ready if here else None,
        "rabbitmq_consumers": here.consumers if here else None,
        "rabbitmq_rejects": rejects.ready if rejects else None,
    }
