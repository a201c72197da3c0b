"""Commands that start a process, and the one that prepares the database for them."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer

from middleware.policy import QUEUES
from mirt.observe.logs import configure
from mirt.observe.shared import FOLDER
from mirt.settings import Mode
from mirt.store.migrate import upgrade
from mirt.store.stores import stores
from service.processes import heartbeat
from service.processes.exporter import Exporter
from service.processes.folders import private_folder
from service.processes.parent import Parent
from service.processes.startup import (
    DEFAULT_PORT,
    read_settings,
    refuse,
    require_schema,
    with_ops_token,
)

log = structlog.get_logger(__name__)

GRACE_S: Final = 95.0
"""Longer than the hardest limit of the tasks that talk to customers."""

Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Where to listen.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        envvar="METRICS_PORT", min=1, max=65535, help="Where to serve /metrics; else nowhere."
    ),
]


def up(port: Port = DEFAULT_PORT) -> None:
    """Run everything in one process, on loopback: ingress, workers and schedule."""
    # Messages and replies are shown as they happen; the lines between would hide them.
    settings = read_settings(quiet=True)
    if settings.mode is not Mode.EMBEDDED:
        refuse(
            "mirt up is for one process without RabbitMQ:",
            "RABBITMQ_URL is set; start the processes of the Procfile, or unset it",
        )
    made = with_ops_token(settings)
    configure(made)
    from service.processes import embedded

    embedded.run(made, port=port, token_is_made=made is not settings)


def web(port: Port = DEFAULT_PORT) -> None:
    """Run the ingress under gunicorn."""
    settings = read_settings()
    queued = settings.tasks_enabled and not settings.tasks_eager
    if settings.mode is not Mode.DISTRIBUTED and queued:
        refuse(
            "mirt web would accept messages that nobody works on:",
            "RABBITMQ_URL is not set; for one process: mirt up",
        )
    require_schema(settings)
    os.environ["PORT"] = str(port)
    gunicorn = ["gunicorn", "--config", "python:service.gunicorn", "service.wsgi:app"]
    os.execv(sys.executable, [sys.executable, "-m", *gunicorn])  # noqa: S606 - our own program


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
    parent = Parent(
        settings,
        queues=queues or list(QUEUES),
        processes=processes,
        threads=threads or settings.worker_threads,
        grace_s=grace,
        metrics_port=metrics_port or settings.metrics_port,
    )
    raise typer.Exit(parent.run())


def scheduler(metrics_port: MetricsPort = None) -> None:
    """Run the schedule: becomes periodiq."""
    settings = read_settings()
    require_schema(settings)
    if port := metrics_port or settings.metrics_port:
        folder = private_folder("mirt-scheduler-")
        # Before it becomes periodiq, which measures there because the environment says so.
        stores(settings).close()
        Exporter(folder, port, removes=True).look_after()
        os.environ[FOLDER] = str(folder)
    os.environ["TZ"] = "UTC"
    periodiq = str(Path(sys.executable).with_name("periodiq"))
    # A program of our own environment.
    os.execv(periodiq, [periodiq, "service.processes.scheduling"])  # noqa: S606


def migrate() -> None:
    """Bring the database to the schema that this version knows."""
    settings = read_settings(quiet=True)
    upgrade(settings.database_url.get_secret_value())
    print("The database has the schema that this version knows.")
