"""Keeps the processes of the deployment running, as systemd or a container engine would."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.deployment import MIRT, ROOT, kill_tree
from tests.polling import wait_until

LOOK_S: Final = 0.2
PAUSE_S: Final = 1.0
"""Between the end of a process and its next start."""
STOP_S: Final = 30.0


@dataclass
class Service:
    """One process of the Procfile."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it has beside those of all others."""
    process: "subprocess.Popen[bytes] | None" = None
    ended_at: float = 0.0
    starts: int = 0
    killed: bool = False
    """Whether its end was our doing."""


@dataclass
class Supervisor:
    """Starts what it is given, and again when it has ended, until it is closed."""

    environment: Mapping[str, str]
    logs: Path
    services: dict[str, Service] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    """Processes that ended without a fault of the run, each with its exit code."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, name: str, *command: str) -> None:
        """Have ``mirt COMMAND`` running from now on; its log is ``NAME.log``."""
        service = Service(name, command)
        with self._lock:
            self.services[name] = service
            self._start(service)

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        """The process of this service as it is now."""
        process = self.services[name].process
        assert process is not None
        return process

    def kill(self, name: str, *, family: bool = True) -> None:
        """SIGKILL, with ``family`` also for all that it has started; it is started again."""
        service = self.services[name]
        wait_until(lambda: service.process, what=f"{name} is started again")
        with self._lock:
            service.killed = True
            process = self.process(name)
            if family:
                kill_tree(process.pid)
            else:
                process.kill()
            process.wait()

    def start_again(self, name: str, environment: Mapping[str, str]) -> None:
        """Kill it as ``kill`` does; from its next start on its environment differs by this."""
        self.services[name].environment = environment
        self.kill(name)

    def close(self) -> None:
        """Ask them all to stop, and kill what has not stopped in time."""
        self._closing.set()
        self._thread.join()
        running = [one.process for one in self.services.values() if one.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_S):
            with self._lock:
                for service in self.services.values():
                    self._look_after(service)

    def _look_after(self, service: Service) -> None:
        now = time.monotonic()
        if service.process is not None:
            code = service.process.poll()
            if code is None:
                return
            if not service.killed:
                self.unexpected.append(f"{service.name} ended by itself with {code}")
            service.process, service.ended_at = None, now
        elif now - service.ended_at >= PAUSE_S:
            self._start(service)

    def _start(self, service: Service) -> None:
        service.killed = False
        service.starts += 1
        with (self.logs / f"{service.name}.log").open("ab") as log:
            log.write(f"--- start {service.starts}\n".encode())
            log.flush()
            service.process = subprocess.Popen(
                [MIRT, *service.command],
                env={**self.environment, **service.environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
