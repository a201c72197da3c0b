"""Options that several commands have."""

from typing import Annotated

import typer

Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Where to listen.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        envvar="METRICS_PORT", min=1, max=65535, help="Where to serve /metrics; else nowhere."
    ),
]
