"""``/metrics`` of processes that serve nothing else: a small process beside them serves it.

A parent that forks must have one thread only: what another thread holds at that moment, the lock of
the log say, is held in the child for ever. An HTTP server in the parent would be such a thread. So
the parent forks a process that reads the folder in which its family is measured. It knows nothing
that could be lost, holds nothing that the others need, and dies with the parent.
"""

import os
import shutil
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

from mirt.observe.multiprocess import FamilyCollector
from service.processes.fork import begin, die_with

log = structlog.get_logger(__name__)

HOST: Final = ""
"""Every address, as the ingress: Prometheus is another container."""
AGAIN_AFTER_S: Final = 5.0
LOOK_S: Final = 1.0


class Exporter:
    """Keeps the process that serves ``folder`` on ``port`` running.

    It must never be what a worker fails by: while the port is taken, work goes on and the log says
    so. ``removes``: it outlives whoever starts it, and removes the folder at its own end.
    """

    def __init__(self, folder: Path, port: int, *, removes: bool = False) -> None:
        self._arguments = (folder, port, removes)
        self._process: BaseProcess | None = None
        self._start_at = 0.0

    def look_after(self) -> None:
        """Start it if it does not run; called several times a second by who has one thread only."""
        if self._process is not None and self._process.exitcode is not None:
            log.error("exporter_died", code=self._process.exitcode)
            self._process.close()
            self._process = None
            self._start_at = time.monotonic() + AGAIN_AFTER_S
        if self._process is None and time.monotonic() >= self._start_at:
            self._process = begin(_serve, *self._arguments, os.getpid())

    def stop(self) -> None:
        """End it, however it is: it knows nothing that could be lost."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _serve(folder: Path, port: int, removes: bool, parent: int) -> None:  # noqa: FBT001
    # Ctrl+C reaches the whole group; the others still have work to finish, and to be measured.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    try:
        if die_with(parent) and (server := _listen(folder, port, parent)):
            while os.getppid() == parent:
                server.handle_request()
    finally:
        if removes:
            shutil.rmtree(folder, ignore_errors=True)


def _listen(folder: Path, port: int, parent: int) -> WSGIServer | None:
    registry = CollectorRegistry()
    registry.register(FamilyCollector(folder))
    while os.getppid() == parent:
        try:
            server = make_server(
                HOST, port, make_wsgi_app(registry), ThreadingWSGIServer, handler_class=_Silent
            )
        except OSError as taken:
            log.error("metrics_not_served", port=port, why=taken.strerror or str(taken))
            threading.Event().wait(AGAIN_AFTER_S)
        else:
            server.timeout = LOOK_S
            return server
    return None


def _end(_signum: int, _frame: object) -> None:
    raise SystemExit(0)


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing of scrapes."""
