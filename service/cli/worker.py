"""``mirt worker``: becomes the parent of processes that work on queues."""

from typing import Annotated, Final

import typer

from middleware.policy import QUEUES
from mirt.settings import Mode
from service.cli.options import MetricsPort
from service.processes import heartbeat
from service.processes.startup import read_settings, refuse, require_schema
from service.processes.supervisor import Supervisor

GRACE_S: Final = 95.0
"""Longer than the hardest limit of the tasks that talk to customers."""


def worker(
    queues: Annotated[
        list[str] | None, typer.Argument(help="Queues to work on; all when none is named.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256)] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, max=512, help="For each process; default WORKER_THREADS.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running tasks have after SIGTERM.")
    ] = GRACE_S,
    metrics_port: MetricsPort = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the workers here are able to work.")
    ] = False,
) -> None:
    """Work on queues, in processes that are replaced when they die."""
    if check:
        problems = heartbeat.check()
        print(*problems or ["all workers here are able to work"], sep="\n")
        raise typer.Exit(1 if problems else 0)
    settings = read_settings()
    if unknown := set(queues or ()) - QUEUES.keys():
        raise typer.BadParameter(
            f"no queue {', '.join(sorted(unknown))}; there are {', '.join(QUEUES)}"
        )
    if settings.mode is not Mode.DISTRIBUTED:
        refuse("mirt worker needs RabbitMQ:", "RABBITMQ_URL is not set; for one process: mirt up")
    require_schema(settings)
    parent = Supervisor(
        settings,
        queues=queues or list(QUEUES),
        processes=processes,
        threads=threads or settings.worker_threads,
        grace_s=grace,
        metrics_port=metrics_port or settings.metrics_port,
    )
    raise typer.Exit(parent.run())
