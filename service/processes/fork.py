"""Starts a process by a fork of this one, so that it has every module imported already.

It is ready within a fraction of the time and CPU that a new interpreter takes. A process may fork
only while it has one thread and no open connection.
"""

import ctypes
import importlib
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from service.processes import garbage_collector

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
RETIRE: Final = signal.SIGUSR1
"""Signal from the supervisor that asks a worker process to stop. Before the process has set its
handler, the signal ends it, which is as good."""
WORKER_MAIN: Final = "service.processes.worker_main"
PR_SET_PDEATHSIG: Final = 1

# Elsewhere than on Linux the system's libraries do not survive a fork.
_processes = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def warm_up(module: str) -> None:
    """Import everything that a worker process needs, and ``module``, which declares its tasks."""
    with garbage_collector.paused():
        importlib.import_module(WORKER_MAIN)
        _import_tasks(module)


def fork(module: str, arguments: list[str]) -> BaseProcess:
    """Start a worker process; ``module`` declares its tasks, ``arguments`` are its command line."""
    return start_process(_run_worker, module, arguments)


def start_process(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start a process that calls ``target``, with the default handlers of the stop signals."""
    process: BaseProcess = _processes.Process(  # type: ignore[attr-defined]
        target=_reset_signals_and_call, args=(target, arguments), daemon=True
    )
    # Until the new process has its own handlers, it has inherited ours: no signal may reach them.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return process


def die_with(parent: int) -> bool:
    """Have the kernel send SIGTERM to this process when its parent dies.

    Return whether the parent still lives: it may have died before this call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


def is_held(pid: int) -> bool:
    """Whether a process is suspended by SIGSTOP; False if that cannot be read."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^State:\s+T", status, re.MULTILINE) is not None


def _import_tasks(module: str) -> None:
    # A program that declares tasks and starts their worker is loaded already, as __main__.
    program = getattr(sys.modules["__main__"], "__spec__", None)
    if program is None or program.name != module:
        importlib.import_module(module)


def _reset_signals_and_call(target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    target(*arguments)


def _run_worker(module: str, arguments: list[str]) -> None:
    try:
        _import_tasks(module)
        code = importlib.import_module(WORKER_MAIN).main(arguments)
    except Exception:  # noqa: BLE001
        # multiprocessing would print the traceback itself, with its secrets.
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.exit(code)
