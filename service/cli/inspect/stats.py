"""How each queue and each worker stands; the queues also as RabbitMQ itself says."""

from typing import TYPE_CHECKING, Any

from service.admin.queues import Activity, WorkerView, activity
from service.cli.context import read_only
from service.cli.output import AsJson, Column, Row, SharedExclusiveLock, emit, say, seconds, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.durable import Depth

    Said = Mapping[str, Depth]


def stats(*, as_json: AsJson = False) -> None:
    """How each queue and each worker stands."""
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
    """The queues as the database knows them, and as RabbitMQ itself says."""
    with read_only() as context:
        now = activity(context)
        url = context.settings.rabbitmq_url
    said = None
    if url is not None:
        from broker.rabbitmq.depths import read_depths
        from broker.rabbitmq.queues import rejects_name

        names = [name for queue in now.queues for name in (queue.name, rejects_name(queue.name))]
        said = read_depths(url.get_secret_value(), names)
    if as_json:
        emit({"at": now.at, "queues": [_with_said(queue, said) for queue in now.queues]})
        return
    _queue_table(now, said)


def _queue_table(now: Activity, said: "Said | None") -> None:
    columns = [
        Column("QUEUE"),
        Column("READY", "right"),
        Column("RUNNING", "right"),
        Column("DELAYED", "right"),
        Column("DEAD", "right"),
        Column("DONE/min", "right", spare=2),
        Column("OLDEST", "right", spare=1),
        Column("WORKERS", "right", spare=3),
    ]
    if said is not None:
        columns += [Column("RABBITMQ", "right"), Column("CONSUMERS", "right")]
        columns += [Column("REJECTS", "right", spare=2)]
    rows: list[Row] = []
    for queue in now.queues:
        told = _with_said(queue, said)
        cells: list[SharedExclusiveLock] = [
            queue.name,
            queue.ready,
            queue.running,
            queue.delayed,
            queue.dead,
            queue.done_per_minute,
            seconds(queue.oldest_wait_s) if queue.oldest_wait_s else "",
            queue.workers,
        ]
        if said is not None:
            cells += [told["rabbitmq_ready"], told["rabbitmq_consumers"], told["rabbitmq_rejects"]]
        stuck = queue.ready and not queue.workers
        rows.append((cells, "red" if stuck else "yellow" if queue.dead else None))
    table(columns, rows, empty="no queue")


def _worker_table(now: Activity) -> None:
    columns = (
        Column("HOST"),
        Column("PID", "right"),
        Column("UPTIME", "right"),
        Column("BUSY", "right"),
        Column("DONE", "right"),
        Column("MB", "right", spare=1),
        Column("SEEN", "right", spare=3),
        Column("QUEUES", spare=2),
    )
    rows: list[Row] = [
        (
            (
                one.worker.host,
                one.worker.pid,
                seconds(one.uptime_s),
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


def _worker_object(one: WorkerView) -> dict[str, Any]:
    worker = one.worker
    return {
        **{name: getattr(worker, name) for name in type(worker).__slots__},
        "busy": one.busy,
        "uptime_s": one.uptime_s,
        "seen_s_ago": one.seen_s_ago,
    }


def _with_said(queue: Any, said: "Said | None") -> dict[str, Any]:
    own = {name: getattr(queue, name) for name in type(queue).__slots__}
    here = said.get(queue.name) if said else None
    rejects = said.get(f"{queue.name}.dead") if said else None
    return {
        **own,
        "rabbitmq_ready": here.ready if here else None,
        "rabbitmq_consumers": here.consumers if here else None,
        "rabbitmq_rejects": rejects.ready if rejects else None,
    }
