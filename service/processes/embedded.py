"""Runs ingress, worker and schedule in one process, on a SQLite file: ``mirt up``.

The queues are in memory, but every message in them has a row. So the start after a crash takes up
every message that was accepted before.
"""

import fcntl
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import structlog
from rich.console import Console
from rich.markup import escape
from uvicorn.config import Config

from broker.stack import install
from broker.task import registry
from middleware.policy import QUEUES
from mirt.channels import Channel, PollableChannel
from mirt.clock import Clock
from mirt.counting import counted
from mirt.errors import DatabaseError
from mirt.observe import traces
from mirt.observe.multiprocess import count_process
from mirt.observe.printable import printable, printable_block
from mirt.runtime import Runtime, open_bot, open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine.migrate import upgrade
from mirt.store.engine.private_file import make_private, make_private_folder
from mirt.store.engine.stores import stores
from mirt.store.queue import outbox
from mirt.tokens import newest
from service.app import create_app
from service.dispatcher import dispatch_message
from service.processes.polling import Arrival, LocalIngress, UpdatePoller
from service.processes.startup import DEFAULT_PORT, HOST, refuse
from service.processes.webhook_secret import with_webhook_secret
from service.processes.worker_main import start_worker, stop_worker
from service.web.loopback import LoopbackGuard
from service.web.server import IngressWorker, QuietServer

log = structlog.get_logger(__name__)

GRACE_S: Final = 10.0
LISTEN_BACKLOG: Final = 128

out = Console(soft_wrap=True, highlight=False)


def run(settings: Settings, *, port: int, token_is_made: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; end the process if another one uses the same file.

    ``token_is_made``: OPS_TOKEN was generated at this start, so the printed link contains it.
    """
    with _FileLock(settings):
        upgrade(settings.database_url.get_secret_value())
        shows = settings.log_format == "console"
        runtime = open_runtime(settings, show=_show_reply if shows else _show_nothing)
        use_runtime(runtime)
        traces.start("embedded")
        count_process()
        broker = install(settings)
        taken_up = _take_up(settings, runtime)
        worker = start_worker(broker, queues=set(QUEUES), threads=settings.worker_threads)
        schedule = EmbeddedScheduler(runtime.clock)
        schedule.start()
        bot = open_bot(with_webhook_secret(settings, make=True))
        guard = _guard(runtime, bot)
        dispatch = _printing(dispatch_message) if shows else dispatch_message
        app = create_app(runtime, dispatch=dispatch, guard=guard)
        serve = _listen(app, port)
        poller = _poller(runtime, bot, port)
        _print_banner(
            settings,
            port,
            taken_up,
            poller,
            page=_page(settings, port, token_is_made=token_is_made),
        )
        if poller:
            poller.start()
        try:
            serve()
        finally:
            if poller:
                poller.stop()
            schedule.stop()
            stop_worker(worker, grace_s=GRACE_S)
            runtime.close()
            traces.stop()


def _guard(runtime: Runtime, bot: PollableChannel | None) -> LoopbackGuard:
    """Return the guard that lets this machine in, and webhooks with a secret from anywhere."""
    settings, channels = runtime.settings, runtime.channels
    with_secret: list[Channel | PollableChannel] = [bot] if bot else []
    if settings.telegram_webhook_secret and not bot:
        with_secret.append(channels["telegram"])
    if settings.manychat_verify_token:
        with_secret.append(channels["manychat"])
    return LoopbackGuard({f"/webhooks/{one.name}": one.authenticate for one in with_secret})


def _poller(runtime: Runtime, bot: PollableChannel | None, port: int) -> UpdatePoller | None:
    """Return the poller of the Telegram bot; None if there is no bot."""
    if bot is None:
        return None

    def store(arrival: Arrival) -> None:
        with suppress(DatabaseError):  # the next change is stored
            runtime.webhooks.report_polling(bot.name, arrival.failure)

    def report(arrival: Arrival) -> None:
        out.print(f"  messages  {escape(printable(arrival.in_words()))}")
        store(arrival)

    secret = newest(runtime.settings.telegram_webhook_secret)
    poller = UpdatePoller(bot, LocalIngress(HOST, port, secret), report)
    store(poller.arrival)
    return poller


def _take_up(settings: Settings, runtime: Runtime) -> int:
    with stores(settings).database.transaction() as tx:
        return outbox.make_all_due(tx, now=runtime.clock())


class _FileLock:
    """Lock beside the database file, for one process: two would run each other's messages."""

    def __init__(self, settings: Settings) -> None:
        database = stores(settings).database.url.database or "mirt"
        self._path = Path(f"{database}.lock")
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        make_private_folder(self._path.parent)
        make_private(self._path)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse("MIRT is already running here:", f"another process holds {self._path}")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _listen(app: Any, port: int) -> Callable[[], None]:
    """Listen, and return the function that serves until SIGTERM or SIGINT."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as taken:
        why = f"{HOST}:{port}: {taken.strerror or taken}"
        refuse(
            "Cannot listen:", f"{why}; choose another: PORT=8001 make run, or mirt up --port 8001"
        )
    config = Config(app, log_config=None, **IngressWorker.CONFIG_KWARGS)
    return partial(QuietServer(config).run, sockets=[listener])


def _printing(dispatch: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def dispatch_and_print(session_id: str, user_message: str, **rest: Any) -> dict[str, Any]:
        answer = dispatch(session_id, user_message, **rest)
        if not answer.get("duplicate"):
            photo = "[photo] " if (rest.get("metadata") or {}).get("photo") else ""
            _line("→", "cyan", session_id, photo + user_message)
        return answer

    return dispatch_and_print


def _show_reply(chat_id: str, text: str) -> None:
    _line("←", "green", chat_id, text)


def _show_nothing(_chat_id: str, _text: str) -> None:
    """Leave the output to log lines, which obey LOG_TEXTS."""


def _line(arrow: str, colour: str, chat: str, text: str) -> None:
    # Further lines are indented: they must not pass for other messages.
    words = printable_block(text).replace("\n", "\n    ")
    out.print(f"[{colour}]{arrow}[/] [dim]{escape(printable(chat))}[/] {escape(words)}")


def _page(settings: Settings, port: int, *, token_is_made: bool) -> str:
    address = f"http://{HOST}:{port}/ops"
    if not token_is_made or settings.ops_token is None:
        return f"{address} (log in with OPS_TOKEN)"
    return f"{address}?token={settings.ops_token.get_secret_value()}"


def _print_banner(
    settings: Settings, port: int, taken_up: int, poller: UpdatePoller | None, *, page: str
) -> None:
    scripted = "the built-in scripted agent (no LLM_API_KEY)"
    agent = settings.llm_model if settings.llm_api_key else scripted
    replies = "to Telegram" if settings.telegram_bot_token else "here (no TELEGRAM_BOT_TOKEN)"
    port_option = "" if port == DEFAULT_PORT else f" --port {port}"
    messages = f"  messages  {escape(printable(poller.arrival.in_words()))}\n" if poller else ""
    chat_option = " --chat YOUR_ID" if poller else ""
    bot = printable(poller.name) if poller and poller.name else ""
    write = f"write to {bot} in Telegram, or " if bot else ""
    out.print(
        f"[bold]MIRT[/] listens on http://{HOST}:{port}, in one process, "
        f"with {escape(str(stores(settings).database.url.database))}\n"
        f"  answers   {escape(agent)}\n"
        f"{messages}"
        f"  replies   go {replies}\n"
        f"  look      {escape(page)}\n"
        f'  try       {escape(write)}.venv/bin/mirt send{chat_option} "Привіт"{port_option}'
    )
    if taken_up:
        out.print(f"  taken up  {counted(taken_up, 'message')} from before the restart")
    sys.stdout.flush()


class EmbeddedScheduler:
    """Thread that gives the broker a tick at every full minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Start the thread; its first tick is the next full minute."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending ticks; the thread may send one last."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            now = self._clock()
            tick = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
            if self._stopping.wait((tick - now).total_seconds()):
                return
            try:
                registry.broker.tick(tick)
            except Exception:
                # The thread must go on after any error: no other one ticks.
                log.exception("tick_failed")
