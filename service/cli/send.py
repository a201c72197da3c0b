"""Commands that play a customer: ``mirt send`` writes one message, ``mirt demo`` a few scenes."""

import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mirt.counting import counted
from mirt.observe.logs import configure
from mirt.operators import acting_as
from mirt.settings import Mode, Settings, load_settings
from mirt.store.engine.database import Database
from mirt.store.queue.audit import record_act
from mirt.store.reports.trace_outcome import TraceOutcome, read_outcome
from mirt.tokens import newest
from service.cli.context import user_of_this_machine
from service.cli.errors import CommandError, misused
from service.cli.output import say_block
from service.cli.scenes import CHAT, SCENES, Scene, order_names
from service.exit_codes import UNAVAILABLE, WRONG
from service.processes.startup import DEFAULT_PORT, HOST, read_settings

ANSWER_WITHIN_S: Final = 90.0
START_WITHIN_S: Final = 30.0
SEEN_WITHIN_S: Final = 2.0


def send(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    chat: Annotated[
        int | None, typer.Option(help="Id of the chat to write in; required with a bot.")
    ] = None,
    port: Annotated[
        int, typer.Option(envvar="PORT", help="Port of the ingress on this machine.")
    ] = DEFAULT_PORT,
    url: Annotated[
        str | None, typer.Option(help="Address of the ingress, if it is not on this machine.")
    ] = None,
    within: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the reply.")
    ] = ANSWER_WITHIN_S,
) -> None:
    """Write to the running service as a customer would on Telegram, and show the reply."""
    settings = read_settings(quiet=True)
    if chat is None and settings.telegram_bot_token is not None:
        # Telegram would send the reply to a stranger: the owner of the chat of our default.
        problem = (
            "name your own chat, since the bot sends the reply to it. To find its id, write to the "
            "bot in Telegram: mirt up prints it after the arrow, and /ops/conversations lists it"
        )
        raise misused("--chat", problem)
    base = url.rstrip("/") if url else f"http://{HOST}:{port}"
    trace_id = _post(settings, base, _update(CHAT if chat is None else chat, text=text))
    with closing(_database(settings)) as database:
        outcome = _wait_for_the_end(database, base, trace_id, within_s=within)
    _record(settings, str(chat or CHAT))
    for reply in outcome.replies:
        say_block(reply)
    if outcome.error_code is not None:
        problem = f"it failed: {outcome.error}; mirt trace {trace_id}"
        raise CommandError("reply", problem, outcome.error_code)
    if not outcome.is_over:
        problem = f"no reply within {within:g} s; what it waits for: mirt trace {trace_id}"
        raise CommandError("reply", problem, "TIMEOUT")


def _record(settings: Settings, session_id: str) -> None:
    with (
        closing(Database(settings.database_url.get_secret_value(), pool_size=1)) as database,
        acting_as(user_of_this_machine()),
        database.transaction() as tx,
    ):
        about = f"conversation {session_id}"
        record_act(tx, "send", target=about, session_id=session_id, now=database.clock())


def demo() -> None:
    """Play what customers send on a service of its own. Exit code 1 if a reply is missing."""
    with tempfile.TemporaryDirectory(prefix="mirt-demo-") as folder:
        port = _free_port()
        # Without a bot, so that no customer gets anything, and without the .env of this folder.
        variables = {name.upper() for name in Settings.model_fields if not name.startswith("llm_")}
        environment = {
            **{name: value for name, value in os.environ.items() if name not in variables},
            "DATABASE_URL": f"sqlite:///{Path(folder) / 'demo.db'}",
            "LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "-m", "service.cli", "up", "--port", str(port)]
        with subprocess.Popen(command, env=environment, cwd=folder) as service:  # noqa: S603 - our own program
            try:
                is_answered = _play(environment, port)
            finally:
                service.terminate()
    if not is_answered:
        print("the demo failed: a reply is missing", file=sys.stderr)
        raise typer.Exit(1)
    print("\nan order in three spellings is one order in the CRM:")
    for spelled, name in order_names(datetime.now(UTC).date()):
        print(f"  {name}  {spelled}")


def _play(environment: dict[str, str], port: int) -> bool:
    os.environ.clear()
    os.environ.update(environment)
    settings = load_settings(env_file=None)
    configure(settings)
    _wait_until_alive(port)
    base = f"http://{HOST}:{port}"
    with closing(_database(settings)) as database:
        return all(_play_scene(scene, settings, database, base) for scene in SCENES)


def _play_scene(scene: Scene, settings: Settings, database: Database, base: str) -> bool:
    print(f"\n{scene.title}", flush=True)
    updates = [_update(CHAT, **message) for message in scene.messages]
    sent = (_post(settings, base, update) for update in updates)
    # All are sent before any answer is waited for, if they belong together.
    traces = list(sent) if scene.together else sent
    ends = [_wait_for_the_end(database, base, trace_id) for trace_id in traces]
    is_answered = all(end.replies and not end.error_code for end in ends)
    if is_answered:
        replies = len({reply for end in ends for reply in end.replies})
        print(f"{counted(len(ends), 'message')}, {counted(replies, 'reply')}.")
    return is_answered


_updates = itertools.count(int(time.time()))


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)


def _wait_for_the_end(
    database: Database, base: str, trace_id: str, *, within_s: float = ANSWER_WITHIN_S
) -> TraceOutcome:
    """Return how the message of this trace has ended, or what is known after ``within_s`` s.

    Raises:
        CommandError: the service at ``base`` has another database than this command.
    """
    began = time.monotonic()
    while True:
        with database.transaction() as tx:
            outcome = read_outcome(tx, trace_id)
        waited = time.monotonic() - began
        # The ingress answers after its commit, so the message must be there already.
        if waited > SEEN_WITHIN_S and not outcome.is_known:
            where = database.url.render_as_string(hide_password=True)
            problem = f"the service at {base} does not use this database ({where})"
            raise CommandError("--url", problem, "UNAVAILABLE", UNAVAILABLE)
        if outcome.is_over or waited > within_s:
            return outcome
        time.sleep(0.1)


def _update(chat: int, **content: Any) -> dict[str, Any]:
    number = next(_updates)
    return {
        "update_id": number,
        "message": {
            "message_id": number,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Customer"},
            **content,
        },
    }


def _post(settings: Settings, base: str, update: dict[str, Any]) -> str:
    request = urllib.request.Request(  # noqa: S310 - http by construction
        f"{base}/webhooks/telegram",
        data=json.dumps(update).encode(),
        headers={"Content-Type": "application/json"},
    )
    if secret := newest(settings.telegram_webhook_secret):
        request.add_header("X-Telegram-Bot-Api-Secret-Token", secret.get_secret_value())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return str(answer.headers["X-Trace-Id"])
    except urllib.error.HTTPError as refused:
        raise _refusal(refused) from None
    except (urllib.error.URLError, OSError, ValueError) as failed:
        start = "make run" if settings.mode is Mode.EMBEDDED else "mirt web"
        why = getattr(failed, "reason", failed)
        problem = f"nothing answers on {base} ({why}); start it: {start}"
        raise CommandError("--url", problem, "UNAVAILABLE", UNAVAILABLE) from None


def _refusal(refused: urllib.error.HTTPError) -> CommandError:
    """Return the error with the words of the ingress, if its answer has any."""
    body = refused.read().decode(errors="replace")
    try:
        answer = json.loads(body)
        code, problem = str(answer["error"]), str(answer["message"])
    except (ValueError, KeyError, TypeError):
        code, problem = "REFUSED", body[:200]
    exit_code = UNAVAILABLE if refused.code == 503 else WRONG
    return CommandError("ingress", f"it answered {refused.code}: {problem}", code, exit_code)


def _wait_until_alive(port: int) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise typer.Exit(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
