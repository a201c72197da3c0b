"""``mirt scheduler``: becomes periodiq."""

import os
import sys
from pathlib import Path

from mirt.observe.multiprocess import FOLDER
from service.cli.options import MetricsPort
from service.processes.exporter import Exporter
from service.processes.folders import private_folder
from service.processes.startup import read_settings, require_schema


def scheduler(metrics_port: MetricsPort = None) -> None:
    """Run the schedule: becomes periodiq."""
    settings = read_settings()
    require_schema(settings)
    if port := metrics_port or settings.metrics_port:
        folder = private_folder("mirt-scheduler-")
        # Before it becomes periodiq, which measures there because the environment says so.
        Exporter(folder, port, removes_folder=True).ensure_running()
        os.environ[FOLDER] = str(folder)
    os.environ["TZ"] = "UTC"
    periodiq = str(Path(sys.executable).with_name("periodiq"))
    # A program of our own environment.
    os.execv(periodiq, [periodiq, "service.processes.scheduler"])  # noqa: S606
