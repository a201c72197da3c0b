"""Run the service as in production: its real commands, on real servers, with fake services.

Each command is a process of its own. Tests talk to it over HTTP, AMQP and SQL only.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import sqlalchemy

from tests.fakes import FakeServices
from tests.polling import START_WITHIN_S, wait_until
from tests.servers.ports import free_port

ROOT: Final = Path(__file__).parents[1]
MIRT: Final = Path(sys.executable).with_name("mirt")
SECRET: Final = "webhook-secret"


@dataclass
class Deployment:
    """The processes of the Procfile, started one by one."""

    environment: Mapping[str, str]
    services: FakeServices
    logs: Path
    port: int = field(default_factory=free_port)
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """The status of every answer to a webhook, also of those that are posted again."""
    engines: dict[str, sqlalchemy.Engine] = field(default_factory=dict)
    """A kept connection for ``rows`` by URL of the database; copies of the deployment share it."""

    def run(self, *command: str) -> int:
        """Run a command that ends by itself; return its exit code."""
        return subprocess.run([MIRT, *command], env=self._env(), cwd=ROOT, check=False).returncode

    def mirt(
        self, *command: str, stdin: str = "", **settings: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command that ends by itself; return its output. Its input is no terminal."""
        return subprocess.run(
            [MIRT, *command],
            env={**self._env(), **settings},
            cwd=ROOT,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )

    def json(self, *command: str, exit_code: int | None = 0) -> Any:
        """Run a command with ``--json`` and return the document that it prints."""
        done = self.mirt(*command, "--json")
        assert exit_code in (None, done.returncode), done.stderr + done.stdout
        return json.loads(done.stdout)

    def python(self, code: str) -> None:
        """Run a program that uses the service's modules, as another team's program does."""
        subprocess.run([sys.executable, "-c", code], env=self._env(), cwd=ROOT, check=True)

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a process that stays."""
        return self._launch(MIRT, *command)

    def start_module(self, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a program of the tests that stays."""
        return self._launch(sys.executable, "-m", module, *arguments)

    def _launch(self, *command: str | Path) -> "subprocess.Popen[bytes]":
        with (self.logs / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(command, env=self._env(), cwd=ROOT, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def web(self) -> "subprocess.Popen[bytes]":
        """Start the ingress; return it when it answers."""
        process = self.start("web", "--port", str(self.port))
        wait_until(lambda: self.is_alive() or process.poll() is not None, within_s=START_WITHIN_S)
        assert process.poll() is None, f"the ingress has ended:\n{self.log_text()[-2000:]}"
        return process

    def is_alive(self) -> bool:
        try:
            return self.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def log_text(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("*.log")))

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)

    def post(
        self, update: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post to the webhook of Telegram, and keep the status of the answer."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/webhooks/telegram",
            json=update,
            headers={"X-Telegram-Bot-Api-Secret-Token": SECRET, **(headers or {})},
            timeout=10,
        )
        self.statuses.append(answer.status_code)
        return answer

    def post_all(
        self, updates: list[dict[str, Any]], *, at_once: int = 8, again: bool = True
    ) -> list[httpx.Response]:
        """Post in this order, some at the same moment; those of one chat alone stay in order.

        An update that is answered 503, as by a busy machine, is posted ``again``, as Telegram does.
        """
        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(self._post_again if again else self.post, updates))

    def _post_again(self, update: Mapping[str, Any]) -> httpx.Response:
        answers: list[httpx.Response] = []

        def is_taken() -> bool:
            answers.append(self.post(update))
            return answers[-1].status_code != 503

        wait_until(is_taken)
        return answers[-1]

    def rows(self, sql: str) -> list[Any]:
        """Return the rows of a query, over one connection that is kept; it outlives outages."""
        url = self.environment["DATABASE_URL"]
        if url not in self.engines:
            self.engines[url] = sqlalchemy.create_engine(
                url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True
            )
        with self.engines[url].connect() as connection:
            return list(connection.execute(sqlalchemy.text(sql)))

    def dead_letters(self) -> list[tuple[str, str]]:
        """Return the task and the error code of each dead letter."""
        found = self.rows("SELECT actor, error_code FROM dead_letters ORDER BY id")
        return [(str(actor), str(code)) for actor, code in found]

    def stop(self) -> None:
        """Ask every process to stop, and wait until all have."""
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(20)

    def close(self) -> None:
        """Kill what still runs: tests of the stop itself stop their processes before."""
        for engine in self.engines.values():
            engine.dispose()
        for process in self.started:
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    """Return the pids of the living processes that a parent has started."""
    living = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                living.append(child.pid)
    return living


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started with SIGKILL, the parent first."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


@contextmanager
def deployment(
    services: FakeServices, logs: Path, servers: Mapping[str, str], **settings: str
) -> Iterator[Deployment]:
    """Make a deployment on these servers, with a migrated database; no process runs yet."""
    here = Deployment(
        {
            **servers,
            "TELEGRAM_BOT_TOKEN": "123456:token",
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": services.telegram_url,
            "LLM_API_KEY": "llm-key",
            "LLM_BASE_URL": services.llm_url,
            "WORKER_THREADS": "16",
            "RETRY_BASE_SECONDS": "0.5",
            "TMPDIR": str(logs),
            **settings,
        },
        services,
        logs,
    )
    try:
        yield here
    finally:
        here.close()


def update(chat: int, number: int, text: str, **message: Any) -> dict[str, Any]:
    """Return a Telegram Update with a text, as the Bot API sends it."""
    return {
        "update_id": chat * 100_000 + number,
        "message": {
            "message_id": number,
            "date": 1_790_000_000 + number,
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Оля", "language_code": "uk"},
            "text": text,
            **message,
        },
    }
