"""A server in a container, where the machine has no programs but a Docker engine that answers."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from itertools import count

from tests.servers.errors import ServerFailed
from tests.servers.guard import guard
from tests.servers.process import STOP_TIMEOUT

ANSWER_TIMEOUT = 10
PULL_TIMEOUT = 600
"""Seconds."""

_number = count(1)


def engine_answers() -> bool:
    """Whether there is a ``docker`` program here and an engine behind it."""
    if shutil.which("docker") is None:
        return False
    try:
        info = subprocess.run(
            ["docker", "info"], capture_output=True, timeout=ANSWER_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return info.returncode == 0


class Container:
    """One server in a container of its own: the runner for Docker.

    The container is made (and its image fetched) at once; it goes when the server is closed or the
    test run dies.

    Args:
        server: its name, for messages.
        image: what to run.
        ports: of 127.0.0.1, each with the container's port behind it.
        settings: the environment of the container.
        command: instead of the image's own.
    """

    def __init__(
        self,
        server: str,
        image: str,
        ports: Mapping[int, int],
        *,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self._server = server
        self._image = image
        self._ports = ports
        self._settings = settings or {}
        self._command = command
        self._create()

    @property
    def pid(self) -> int:
        return int(self._state()["Pid"])

    def running(self) -> bool:
        return bool(self._state()["Running"])

    def start(self) -> None:
        self._docker("start", self._container)

    def stop(self) -> None:
        self._docker("stop", "--time", str(STOP_TIMEOUT), self._container)

    def kill(self) -> None:
        self._docker("kill", self._container)

    def pause(self) -> None:
        self._docker("pause", self._container)

    def resume(self) -> None:
        self._docker("unpause", self._container)

    def wipe(self) -> None:
        if self.running():
            raise ServerFailed(f"{self._server} runs: stop or kill it before its disk is lost")
        self.close()
        self._create()

    def close(self) -> None:
        self._docker("rm", "--force", "--volumes", self._container)
        self._guard.kill()
        self._guard.wait()

    def last_words(self) -> str:
        return self._docker("logs", "--tail", "30", self._container)

    def execute(self, *command: str) -> str:
        return self._docker("exec", self._container, *command)

    def _create(self) -> None:
        self._container = f"mirt-{self._server.lower()}-{os.getpid()}-{next(_number)}"
        ports = [f"--publish=127.0.0.1:{ours}:{theirs}" for ours, theirs in self._ports.items()]
        settings = [f"--env={name}={value}" for name, value in self._settings.items()]
        named = ["--name", self._container, *ports, *settings]
        self._docker("create", *named, self._image, *self._command)
        self._guard = guard(["docker", "rm", "--force", "--volumes", self._container])

    def _state(self) -> dict[str, int | bool | str]:
        state = self._docker("inspect", "--format", "{{json .State}}", self._container)
        return dict(json.loads(state))

    def _docker(self, *arguments: str) -> str:
        """Run the command and answer what it says.

        Raises:
            ServerFailed: when it fails, with its own words.
        """
        ran = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PULL_TIMEOUT,
            check=False,
        )
        if ran.returncode != 0:
            raise ServerFailed(f"docker {arguments[0]} for {self._server}: {ran.stderr.strip()}")
        return ran.stdout
