"""A new process that has imported everything already.

It is able to work within a fraction of the time and CPU that a new interpreter takes. The parent
may fork because it has one thread only, and no connection is open in that moment.
"""

import ctypes
import gc
import importlib
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
RETIRE: Final = signal.SIGUSR1
"""From the parent to a child: work no more. It ends a child that does not listen yet, too."""
CHILD: Final = "service.processes.child"
PR_SET_PDEATHSIG: Final = 1

# Elsewhere than on Linux the system's libraries do not survive a fork.
_processes = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def warm_up(module: str) -> None:
    """Import what a child needs, and ``module``, which declares its tasks."""
    with loading():
        importlib.import_module(CHILD)
        _declare(module)


def fork(module: str, arguments: list[str]) -> BaseProcess:
    """Start a child; ``module`` declares its tasks."""
    return begin(_run, module, arguments)


def begin(what: Callable[..., None], *arguments: object) -> BaseProcess:
    """Have a process of its own do this; it gets the signals' own meanings back."""
    process: BaseProcess = _processes.Process(  # type: ignore[attr-defined]
        target=_alone, args=(what, arguments), daemon=True
    )
    # A signal that comes before the child has its own handlers must not meet the parent's there.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return process


def die_with(parent: int) -> bool:
    """Have the kernel stop this process when its parent dies; whether that still lives."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


def is_held(pid: int) -> bool:
    """Whether a process is held still, by SIGSTOP; False when it cannot be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^State:\s+T", status, re.MULTILINE) is not None


def _declare(module: str) -> None:
    # A program that declares tasks and starts their worker is there already, under another name.
    program = getattr(sys.modules["__main__"], "__spec__", None)
    if program is None or program.name != module:
        importlib.import_module(module)


def _alone(what: Callable[..., None], arguments: tuple[object, ...]) -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    what(*arguments)


def _run(module: str, arguments: list[str]) -> None:
    try:
        _declare(module)
        code = importlib.import_module(CHILD).main(arguments)
    except Exception:  # noqa: BLE001
        # multiprocessing would print it as it is.
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.exit(code)


@contextmanager
def loading() -> Iterator[None]:
    """What is imported inside stays for good, and is never looked through for garbage.

    To look takes a sixth of a start; later, in a process that was forked, it would copy the pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
