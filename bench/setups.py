"""The systems that are compared, each as real processes on servers of its own run."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import httpx
import psutil

from bench.load import SECRET
from tests.deployment import kill_tree
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis, Servers
from tests.servers.ports import free_port

ROOT: Final = Path(__file__).parents[1]
MIRT: Final = Path(sys.executable).with_name("mirt")
CONTENDERS_PYTHON: Final = Path(
    os.environ.get("CONTENDERS_PYTHON", ROOT / ".venv-contenders" / "bin" / "python")
)
OURS, DRAMATIQ, CELERY, CELERY_THREADS = "mirt", "dramatiq", "celery", "celery-threads"


@dataclass
class Running:
    """A started system: its ingress port, its process trees by role, and where it writes."""

    port: int
    environment: Mapping[str, str]
    folder: Path
    processes: dict[str, list["subprocess.Popen[bytes]"]] = field(default_factory=dict)

    def start(self, role: str, *command: str | Path) -> None:
        """Start a process of this role."""
        log: IO[bytes] = (self.folder / f"{role}-{len(self.processes)}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **self.environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.processes.setdefault(role, []).append(process)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of each role since its start, children that ended included."""
        return {
            role: sum(_tree_cpu_s(process.pid) for process in processes)
            for role, processes in self.processes.items()
        }

    def logs(self) -> str:
        """Return everything that its processes wrote."""
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """Kill all of it."""
        for processes in self.processes.values():
            for process in processes:
                kill_tree(process.pid)
                process.wait()


def _tree_cpu_s(pid: int) -> float:
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for one in tree:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def outside(latency_s: float) -> Iterator[str]:
    """Run the outside services in a process of their own; their URL."""
    command = [sys.executable, "-m", "bench.outside", "--latency", str(latency_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


@contextmanager
def away(url: str, ms: float) -> Iterator[str]:
    """Put a database so many milliseconds away, there and back; its URL."""
    if not ms:
        yield url
        return
    parts = urlsplit(url)
    to = (str(parts.hostname), str(parts.port), "--ms", str(ms))
    command = [sys.executable, "-m", "bench.delay_proxy", *to]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().decode().strip()
            yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        finally:
            process.kill()


@contextmanager
def running(
    name: str,
    servers: Servers,
    outside_url: str,
    *,
    workers: bool = True,
    threads: int = 16,
    database_ms: float = 0,
    **settings: str,
) -> Iterator[Running]:
    """Start a system with one web service of two processes and two worker processes.

    Its database is ``database_ms`` away.
    """
    with (
        servers.get(RabbitMQ).isolated() as rabbitmq,
        servers.get(Redis).isolated() as redis,
        servers.get(Postgres).isolated() as near,
        away(near, database_ms) as postgres,
        tempfile.TemporaryDirectory() as folder,
    ):
        here = Running(
            free_port(),
            {
                "RABBITMQ_URL": rabbitmq,
                "REDIS_URL": redis,
                "DATABASE_URL": postgres,
                "TELEGRAM_BOT_TOKEN": "123456:token",
                "TELEGRAM_WEBHOOK_SECRET": SECRET,
                "TELEGRAM_API_URL": outside_url,
                "LLM_API_KEY": "llm-key",
                "LLM_BASE_URL": f"{outside_url}/v1",
                "WORKER_THREADS": str(threads),
                "WORKER_MAX_TASKS": "1000000",
                "LOG_LEVEL": "INFO",
                "LOG_FORMAT": "json",
                "CONTENDER": name.partition("-")[0],
                "TMPDIR": folder,
                **settings,
            },
            Path(folder),
        )
        try:
            START[name](here, workers, threads)
            yield here
        finally:
            here.close()


def _start_mirt(here: Running, workers: bool, _threads: int) -> None:  # noqa: FBT001
    here.start("web", MIRT, "web", "--port", str(here.port))
    wait_until(lambda: _answers(here.port), within_s=60)
    if workers:
        here.start("worker", MIRT, "worker", "llm", "default", "--processes", "2")
        wait_until(lambda: here.logs().count("worker_started") >= 2, within_s=60)


def _start_ingress(here: Running) -> None:
    uvicorn = (CONTENDERS_PYTHON, "-m", "uvicorn", "bench.contenders.ingress:app")
    options = ("--port", str(here.port), "--workers", "2", "--no-access-log")
    here.start("web", *uvicorn, *options, "--log-level", "warning")
    wait_until(lambda: _answers(here.port), within_s=60)


def _prepare(here: Running) -> None:
    code = "from bench.contenders import job; job.prepare()"
    subprocess.run(
        [CONTENDERS_PYTHON, "-c", code],
        env={**os.environ, **here.environment},
        cwd=ROOT,
        check=True,
    )


def _start_dramatiq(here: Running, workers: bool, threads: int) -> None:  # noqa: FBT001
    _prepare(here)
    _start_ingress(here)
    if workers:
        module = "bench.contenders.dramatiq_tasks"
        options = ("--processes", "2", "--threads", str(threads))
        here.start("worker", CONTENDERS_PYTHON, "-m", "dramatiq", module, *options)
        wait_until(lambda: here.logs().count("is ready for action") >= 2, within_s=60)


def _start_celery(here: Running, workers: bool, _threads: int) -> None:  # noqa: FBT001
    _prepare(here)
    _start_ingress(here)
    if workers:
        celery = (CONTENDERS_PYTHON, "-m", "celery", "-A", "bench.contenders.celery_tasks")
        here.start("worker", *celery, "worker", "-P", "prefork", "-c", "4", "-l", "INFO")
        wait_until(lambda: " ready." in here.logs(), within_s=60)


def _start_celery_threads(here: Running, workers: bool, threads: int) -> None:  # noqa: FBT001
    _prepare(here)
    _start_ingress(here)
    if workers:
        celery = (CONTENDERS_PYTHON, "-m", "celery", "-A", "bench.contenders.celery_tasks")
        for number in range(2):
            options = ("-P", "threads", "-c", str(threads), "-l", "INFO", "-n", f"w{number}@bench")
            here.start("worker", *celery, "worker", *options)
        wait_until(lambda: here.logs().count(" ready.") >= 2, within_s=60)


START: Final[Mapping[str, Callable[[Running, bool, int], None]]] = {
    OURS: _start_mirt,
    DRAMATIQ: _start_dramatiq,
    CELERY: _start_celery,
    CELERY_THREADS: _start_celery_threads,
}


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def server_cpu_s() -> dict[str, float]:
    """Return the CPU seconds of PostgreSQL, RabbitMQ and Redis of this run."""
    found = {"postgres": 0.0, "rabbitmq": 0.0, "redis": 0.0}
    for process in psutil.Process().children(recursive=True):
        try:
            name, times = process.name(), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        # Backends that ended are in their postmaster's children.
        spent = times.user + times.system
        if name.startswith("postgres"):
            found["postgres"] += spent
        elif name.startswith("beam"):
            found["rabbitmq"] += spent
        elif name.startswith("redis"):
            found["redis"] += spent
    return found
