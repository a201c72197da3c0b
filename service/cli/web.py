"""``mirt web``: checks what the ingress needs, and becomes gunicorn."""

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from mirt.errors import DatabaseError
from mirt.settings import Mode
from service.cli.options import Port
from service.processes.startup import DEFAULT_PORT, read_settings, refuse, require_schema

Host = Annotated[
    str, typer.Option(envvar="WEB_HOST", help="Address to listen on; all interfaces by default.")
]


def web(port: Port = DEFAULT_PORT, host: Host = "") -> None:
    """Run the ingress under gunicorn."""
    settings = read_settings()
    queued = settings.tasks_enabled and not settings.tasks_eager
    if settings.mode is not Mode.DISTRIBUTED and queued:
        refuse(
            "mirt web would accept messages that no worker runs:",
            "RABBITMQ_URL is not set; for one process: mirt up",
        )
    # While the database is down, the ingress starts all the same and answers 503.
    with suppress(DatabaseError):
        require_schema(settings)
    os.environ |= {"PORT": str(port), "WEB_HOST": host}
    gunicorn = ["gunicorn", "--config", "python:service.gunicorn", "service.asgi:app"]
    os.execv(sys.executable, [sys.executable, "-m", *gunicorn])  # noqa: S606 - our own program
