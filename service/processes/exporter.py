"""Serves ``/metrics`` for processes without an HTTP server, from a small process beside them.

A supervisor that forks must have one thread only: a lock that another thread holds at the fork, of
the log for example, would stay locked in the new process for ever. An HTTP server would be such a
thread. So the supervisor forks an exporter process, which reads the folder into which all processes
write their metrics. The exporter has no state that could be lost, holds nothing that the others
need, and dies with its parent.
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
from typing_extensions import override

from mirt.observe.multiprocess import FamilyCollector
from service.processes.fork import die_with, start_process

log = structlog.get_logger(__name__)

SILENT_S: Final = 10.0
"""Seconds after which a client that says nothing loses its connection, and the thread is free."""
AGAIN_AFTER_S: Final = 5.0
POLL_S: Final = 1.0


class Exporter:
    """Keeps a process running that serves the metrics in ``folder`` on an address.

    A failing exporter never stops a worker: while the port is taken, the workers keep running, and
    the log reports it. With ``removes_folder`` the exporter outlives its caller, and removes the
    folder when it ends.
    """

    def __init__(self, folder: Path, host: str, port: int, *, removes_folder: bool = False) -> None:
        self._arguments = (folder, host, port, removes_folder)
        self._process: BaseProcess | None = None
        self._start_at = 0.0

    def ensure_running(self) -> None:
        """Start the process if it does not run; after its death with a pause of 5 s.

        The caller must have one thread only. It may call this several times a second.
        """
        if self._process is not None and self._process.exitcode is not None:
            log.error("exporter_died", code=self._process.exitcode)
            self._process.close()
            self._process = None
            self._start_at = time.monotonic() + AGAIN_AFTER_S
        if self._process is None and time.monotonic() >= self._start_at:
            self._process = start_process(_serve, *self._arguments, os.getpid())

    def stop(self) -> None:
        """Kill the process and wait for its end: it has nothing to lose."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _serve(
    folder: Path,
    host: str,
    port: int,
    removes_folder: bool,  # noqa: FBT001 - an argument of a process
    parent: int,
) -> None:
    # Ctrl+C reaches the whole process group; the others still finish their tasks and count them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    try:
        if die_with(parent) and (server := _listen(folder, host, port, parent)):
            while os.getppid() == parent:
                server.handle_request()
    finally:
        if removes_folder:
            shutil.rmtree(folder, ignore_errors=True)


def _listen(folder: Path, host: str, port: int, parent: int) -> WSGIServer | None:
    registry = CollectorRegistry()
    registry.register(FamilyCollector(folder))
    while os.getppid() == parent:
        try:
            server = make_server(
                host, port, make_wsgi_app(registry), ThreadingWSGIServer, handler_class=_Silent
            )
        except OSError as taken:
            log.error("metrics_not_served", port=port, why=taken.strerror or str(taken))
            threading.Event().wait(AGAIN_AFTER_S)
        else:
            server.timeout = POLL_S
            return server
    return None


def _exit(_signum: int, _frame: object) -> None:
    raise SystemExit(0)


class _Silent(WSGIRequestHandler):
    timeout = SILENT_S

    @override
    def log_message(self, format: str, *args: Any) -> None:
        # A scrape every few seconds is no news.
        pass
