"""``mirt worker``: becomes the supervisor of worker processes; ``--check`` is its health check.

The supervisor is imported only when it starts, so that the help and the health check load little.
"""

from typing import Annotated, Final, NoReturn

import typer

from service.cli.options import MetricsPort
from service.processes import heartbeat

GRACE_S: Final = 95.0
"""Longer than the hardest limit of the tasks that talk to customers."""


def worker(
    queues: Annotated[
        list[str] | None, typer.Argument(help="Queues to work on; without any, all queues.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Number of worker processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, max=512, help="For each process; default WORKER_THREADS.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running tasks have after SIGTERM.")
    ] = GRACE_S,
    metrics_port: MetricsPort = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check whether the workers here are ready.")
    ] = False,
) -> None:
    """Run the tasks of queues, in processes that are replaced when they die.

    With --check, print what is wrong with the workers of this machine; exit code 1 if anything is.
    """
    if check:
        raise typer.Exit(heartbeat.report())
    _supervise(queues, processes, threads, grace_s=grace, metrics_port=metrics_port)


def _supervise(
    queues: list[str] | None,
    processes: int,
    threads: int | None,
    *,
    grace_s: float,
    metrics_port: int | None,
) -> NoReturn:
    from middleware.policy import QUEUES
    from mirt.settings import Mode
    from service.processes.startup import read_settings, refuse, require_schema
    from service.processes.supervisor import Supervisor

    settings = read_settings()
    if unknown := set(queues or ()) - QUEUES.keys():
        raise typer.BadParameter(
            f"no queue {', '.join(sorted(unknown))}; there are {', '.join(QUEUES)}"
        )
    if settings.mode is not Mode.DISTRIBUTED:
        refuse("mirt worker needs RabbitMQ:", "RABBITMQ_URL is not set; for one process: mirt up")
    require_schema(settings)
    supervisor = Supervisor(
        settings,
        queues=queues or list(QUEUES),
        processes=processes,
        threads=threads or settings.worker_threads,
        grace_s=grace_s,
        metrics_host=settings.metrics_host,
        metrics_port=metrics_port or settings.metrics_port,
    )
    raise typer.Exit(supervisor.run())
