"""A server as the tests see it, wherever it runs: an address, and faults that tests cause."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar, Protocol, Self

from tests.servers.errors import FaultNotPossible, ServerFailed
from tests.servers.provision import Program

START_TIMEOUT = 60
"""Seconds until a started server must answer. RabbitMQ takes about 6 on two idle cores."""
ASK_AGAIN = 0.05
"""Seconds between two questions whether it answers."""


class Runner(Protocol):
    """The carrier of a server: a process of ours, a container, or a server that is not ours."""

    @property
    def pid(self) -> int: ...
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def wipe(self) -> None: ...
    def close(self) -> None: ...
    def last_words(self) -> str: ...
    def execute(self, *command: str) -> str: ...


class Foreign:
    """The runner of a server that was named in the environment: every fault is refused."""

    def __init__(self, server: str, variable: str) -> None:
        self._server = server
        self._variable = variable

    @property
    def pid(self) -> int:
        raise self.refusal("signal")

    def running(self) -> bool:
        return True

    def start(self) -> None:
        """Do nothing: the server runs already."""

    def stop(self) -> None:
        raise self.refusal("stop")

    def kill(self) -> None:
        raise self.refusal("kill")

    def pause(self) -> None:
        raise self.refusal("hold still")

    def resume(self) -> None:
        """Do nothing: the server was never held still."""

    def wipe(self) -> None:
        raise self.refusal("wipe")

    def close(self) -> None:
        """Do nothing: the server goes on after the tests."""

    def last_words(self) -> str:
        return ""

    def execute(self, *command: str) -> str:
        raise self.refusal("command")

    def refusal(self, fault: str) -> FaultNotPossible:
        return FaultNotPossible(self._server, self._variable, fault)


class Server(ABC):
    """A server. Its ``url`` stays the same through every fault, so that clients find it again.

    Every fault raises :class:`FaultNotPossible` when the server was named in the environment.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    """The variable of the environment that names one."""
    program: ClassVar[Program]

    def __init__(self, url: str, runner: Runner) -> None:
        self.url = url
        self._runner = runner
        self._held = False

    @classmethod
    @abstractmethod
    def named(cls, url: str) -> Self:
        """Answer the one that the environment names."""

    @classmethod
    @abstractmethod
    def private(cls, program: Path) -> Self:
        """Answer one of our own, not yet started, that will run the machine's ``program``."""

    @classmethod
    @abstractmethod
    def contained(cls) -> Self:
        """Answer one of our own, not yet started, that will run in a container."""

    @abstractmethod
    def isolated(self) -> AbstractContextManager[str]:
        """Give a test an empty space of its own on this server: the URL of that space."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves clients now."""

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._runner.pid

    def start(self) -> None:
        """See to it that the server runs and answers, whatever state it was left in.

        Raises:
            ServerFailed: when it does not answer within ``START_TIMEOUT`` seconds.
        """
        self.resume()
        if not self._runner.running():
            self._runner.start()
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            if time.monotonic() > deadline or not self._runner.running():
                raise ServerFailed(f"{self.name} does not answer\n{self._runner.last_words()}")
            time.sleep(ASK_AGAIN)

    def stop(self) -> None:
        """Stop it in order, as an operator does. Its disk stays."""
        self.resume()
        self._runner.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL. Its disk stays."""
        self._runner.kill()
        self._held = False

    def pause(self) -> None:
        """Hold it still with SIGSTOP: connections stay open and nothing answers."""
        self._runner.pause()
        self._held = True

    def resume(self) -> None:
        """Let it go on after :meth:`pause`; no harm when it was not held."""
        if self._held:
            self._runner.resume()
            self._held = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold it still until the block ends."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def wipe(self) -> None:
        """Lose its whole disk. It must be stopped or killed; the next start is an empty server."""
        self._runner.wipe()

    def must_be_ours(self, fault: str) -> None:
        """Refuse a fault that needs no process, as the others are refused.

        Raises:
            FaultNotPossible: when the server was named in the environment.
        """
        if isinstance(self._runner, Foreign):
            raise self._runner.refusal(fault)

    def close(self) -> None:
        """End it for good, and remove what it left. Not for tests."""
        self._runner.close()
