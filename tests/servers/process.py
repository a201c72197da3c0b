"""A program of this machine, run as a server for the tests: started, stopped, killed, held still.

mirakuru was meant for this; it forks with a ``preexec_fn``, which is not safe while other servers
start in other threads, and leaves the server running when pytest itself is killed.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.servers.directories import removal_of, run_directory
from tests.servers.errors import ServerFailed
from tests.servers.guard import keeper

STOP_TIMEOUT = 30
"""Seconds that a server has to stop when asked to."""


class Process:
    """One server process, with all its descendants, that lives in a private directory.

    Args:
        name: for messages.
        home: the private directory. The server keeps its data in ``home / "data"``, which is there,
            though perhaps empty, when it starts.
        command: what to run.
        environment: the whole environment, but for ``PATH``.
        stop_signal: asks the server to stop in order.
        user: the system user to run as; ours when ``None``.
    """

    def __init__(
        self,
        name: str,
        home: Path,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
    ) -> None:
        self._name = name
        self._home = home
        self._data = home / "data"
        self._log = home / "log"
        self._command = command
        self._environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self._stop_signal = stop_signal
        self._user = user
        self._keeper: subprocess.Popen[bytes] | None = None
        self._server: psutil.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return int(self._running().pid)

    def running(self) -> bool:
        """Whether the server's process lives (it may be held still)."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start the process. That it answers has to be waited for."""
        if not self._data.exists():
            self._data.mkdir(mode=0o700)
            if self._user is not None:
                shutil.chown(self._data, self._user)
        # The whole run's directory: the last of its servers to die finds no writer to it.
        afterwards = removal_of(run_directory())
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [*keeper(afterwards, self._user), *self._command],
                cwd=self._home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C in the terminal is for pytest, which then stops the servers itself.
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as answer:
            pid = answer.readline()
        try:
            self._server = psutil.Process(int(pid))
        except (ValueError, psutil.NoSuchProcess):
            raise ServerFailed(f"{self._name} could not be started:\n{self.last_words()}") from None

    def stop(self) -> None:
        """Ask the server to stop and wait until it has, with all its descendants."""
        self.resume()
        self._end(self._stop_signal)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as the kernel does when memory is short."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Hold the server and its descendants still: connections stay open, nothing answers."""
        server = self._running()
        # The parent first: once it is still, it has no more children.
        server.suspend()
        for child in server.children(recursive=True):
            child.suspend()

    def resume(self) -> None:
        """Let a held server go on; no harm when it is not held."""
        server = self._running()
        for process in (*server.children(recursive=True), server):
            process.resume()

    def wipe(self) -> None:
        """Lose the whole disk of the stopped server."""
        if self.running():
            raise ServerFailed(f"{self._name} runs: stop or kill it before its disk is lost")
        shutil.rmtree(self._data, ignore_errors=True)

    def close(self) -> None:
        """End for good: nothing of the server stays, neither process nor file."""
        if self.running():
            self._end(signal.SIGKILL)
        shutil.rmtree(self._home)

    def last_words(self) -> str:
        """The end of the server's log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def execute(self, *command: str) -> str:
        """Run a program beside the server, in its environment, and answer what it prints.

        Raises:
            ServerFailed: when it fails, with its own words.
        """
        ran = subprocess.run(
            command,
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STOP_TIMEOUT,
            check=False,
            user=self._user,
        )
        if ran.returncode != 0:
            raise ServerFailed(f"{' '.join(command)}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def _running(self) -> psutil.Process:
        if self._server is None or not self.running():
            raise ServerFailed(f"{self._name} does not run")
        return self._server

    def _end(self, how: signal.Signals) -> None:
        self._running().send_signal(how)
        assert self._keeper is not None
        try:
            self._keeper.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._running().kill()
            self._keeper.wait(STOP_TIMEOUT)
            raise ServerFailed(
                f"{self._name} had to be killed: it did not stop in {STOP_TIMEOUT} s"
            ) from None
