"""``mirt inspect``: what is stuck, why, since when, whose turn it is, and what mends it.

Everything is read from the database, which every worker reports to: it works with any number of
machines, and in the embedded mode beside ``mirt up``.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.errors import WRONG
from service.cli.looking import looking
from service.cli.printing import AsJson, Cell, Column, Row, emit, hang, moment, say, seconds, table
from service.operations import queues as operations
from service.operations.queues import Activity, RunView, WorkerView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.durable import Depth
    from service.operations.waiting import WaitingView

    Said = Mapping[str, Depth]

inspect = typer.Typer(
    help="What is going on. Without a further word: what is wrong, who waits and why.",
    invoke_without_command=True,
    add_completion=False,
)

MOST_WAITING = 8
Limit = Annotated[int, typer.Option(min=1, max=500, help="Of those who wait, show this many.")]


@inspect.callback()
def overview(ctx: typer.Context, *, as_json: AsJson = False, limit: Limit = MOST_WAITING) -> None:
    """What is stuck, why, since when, whose turn it is, and a command for each.

    Exit code 1 when something is wrong.
    """
    if ctx.invoked_subcommand is not None:
        return
    from service.operations.problems import problems
    from service.operations.schedule import schedule
    from service.operations.waiting import waiting

    with looking() as world:
        now = operations.activity(world)
        wrong = problems(world, now, schedule(world))
        waits = waiting(world, limit=limit)
    if as_json:
        emit(
            {
                "at": now.at,
                "problems": [{"what": one.what, "command": one.command} for one in wrong],
                "waiting": waits,
                "queues": now.queues,
                "workers": len(now.workers),
            }
        )
        raise typer.Exit(WRONG if wrong else 0)
    for one in wrong:
        hang("✗ ", one.what, style="red")
        hang("    ", one.command)
    if not wrong:
        say("✓ nothing is wrong", style="green")
    if waits:
        say("", "Who waits the longest:")
    for wait in waits:
        _say_waiting(wait)
    say("", _summary(now))
    raise typer.Exit(WRONG if wrong else 0)


def _say_waiting(wait: "WaitingView") -> None:
    name = f" ({wait.customer_name})" if wait.customer_name else ""
    count = f"{wait.messages} message(s)" if wait.messages else "a reply that is not delivered"
    hang("  ", f"{wait.session_id}{name} for {seconds(wait.waited_s)}: {count}", style="bold")
    hang("      ", f"turn of {wait.task}, attempt {wait.attempt}: {wait.why}")
    if wait.worker_id:
        hang("      ", f"in {wait.worker_id}", style="dim")
    if wait.last_error:
        hang("      ", f"before that {wait.last_error}", style="dim")
    hang("      ", wait.command)


@inspect.command()
def active(*, as_json: AsJson = False) -> None:
    """Which worker runs what, for which conversation, for how long, and which attempt it is."""
    with looking() as world:
        now = operations.activity(world)
    if as_json:
        emit({"at": now.at, "active": [_as_object(run) for run in now.runs]})
        return
    living = {one.worker.id for one in now.workers}
    columns = (
        Column("TASK"),
        Column("CONVERSATION"),
        Column("RUNNING", "right"),
        Column("MAY", "right", spare=2),
        Column("ATTEMPT", "right"),
        Column("WORKER", spare=1),
        Column("TASK ID", spare=3, style="dim"),
    )
    rows: list[Row] = [
        (
            (
                run.task,
                run.session_id,
                seconds(run.running_s),
                seconds(run.soft_s),
                run.attempt,
                _worker_of(run, living),
                run.task_id,
            ),
            "yellow" if run.is_late else None,
        )
        for run in now.runs
    ]
    table(columns, rows, empty="nothing runs")


@inspect.command()
def stats(*, as_json: AsJson = False) -> None:
    """How each queue and each worker stands."""
    with looking() as world:
        now = operations.activity(world)
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


@inspect.command()
def queues(*, as_json: AsJson = False) -> None:
    """The queues as the database knows them, and as RabbitMQ itself says."""
    with looking() as world:
        now = operations.activity(world)
        url = world.settings.rabbitmq_url
    said = None
    if url is not None:
        from broker.rabbitmq.depths import read_depths
        from broker.rabbitmq.topology import rejects_name

        names = [name for queue in now.queues for name in (queue.name, rejects_name(queue.name))]
        said = read_depths(url.get_secret_value(), names)
    if as_json:
        emit({"at": now.at, "queues": [_with_said(queue, said) for queue in now.queues]})
        return
    _queue_table(now, said)


@inspect.command()
def registered(*, as_json: AsJson = False) -> None:
    """Every task with its queue, limits, retries, and when the schedule runs it next."""
    from middleware.policy import QUEUES, TASKS
    from service.operations.schedule import schedule

    with looking() as world:
        ticks = {one.task: one for one in schedule(world)}
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
        cells: list[Cell] = [
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


def _summary(now: Activity) -> str:
    ready = sum(queue.ready for queue in now.queues)
    running = sum(queue.running for queue in now.queues)
    delayed = sum(queue.delayed for queue in now.queues)
    dead = sum(queue.dead for queue in now.queues)
    rate = sum(queue.done_per_minute for queue in now.queues)
    return (
        f"{len(now.workers)} worker(s); {ready} ready, {running} running, {delayed} delayed, "
        f"{dead} dead; {rate:.1f} done a minute"
    )


def _worker_of(run: RunView, living: set[str]) -> str:
    if run.worker_id is None:
        return "-"
    # Its chance is of use to nobody who reads.
    name = run.worker_id.rpartition(":")[0] or run.worker_id
    return name if run.worker_id in living else f"{name} (gone)"


def _as_object(run: RunView) -> dict[str, Any]:
    names = RunView.__slots__
    return {**{name: getattr(run, name) for name in names}, "is_late": run.is_late}


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


def _policy(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in type(task).__slots__}
