"""``mirt scheduler``: checks what the schedule needs, and becomes periodiq."""

import os
import sys
from pathlib import Path

from mirt.observe.multiprocess import FOLDER
from service.cli.options import MetricsPort
from service.processes.exporter import Exporter
from service.processes.folders import private_folder
from service.processes.startup import read_settings, require_schema


def scheduler(metrics_port: MetricsPort = None) -> None:
    """Run the schedule: each task of the schedule is sent at its time. Becomes periodiq."""
    settings = read_settings()
    require_schema(settings)
    if port := metrics_port or settings.metrics_port:
        folder = private_folder("mirt-scheduler-")
        # It must run before this process becomes periodiq, which counts in this folder because the
        # environment names it.
        Exporter(folder, settings.metrics_host, port, removes_folder=True).ensure_running()
        os.environ[FOLDER] = str(folder)
    os.environ["TZ"] = "UTC"
    periodiq = str(Path(sys.executable).with_name("periodiq"))
    arguments = [periodiq, "service.processes.scheduler"]
    os.execv(periodiq, arguments)  # noqa: S606 - a program of our own environment
