"""Commands that play a customer: ``mirt send`` writes one message, ``mirt demo`` a conversation."""

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
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mirt.runtime import open_runtime
from mirt.settings import Mode, Settings
from service.cli.errors import CommandError
from service.exit_codes import UNAVAILABLE, WRONG
from service.processes.startup import DEFAULT_PORT, HOST, read_settings

ANSWER_WITHIN_S: Final = 90.0
START_WITHIN_S: Final = 30.0
CHAT: Final = 1001
CONVERSATION: Final = ("Привіт! 👋", "Скільки коштує сукня на 5 років?", "Дякую, беру 💛")


def send(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    chat: Annotated[int, typer.Option(help="Id of the chat to write in.")] = CHAT,
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
    base = url.rstrip("/") if url else f"http://{HOST}:{port}"
    trace_id = _post(settings, base, _update(text, chat))
    replies = _wait_for_replies(settings, trace_id, within_s=within)
    if replies is None:
        problem = f"no reply within {within:g} s; what it waits for: mirt trace {trace_id}"
        raise CommandError("reply", problem, "TIMEOUT")
    print(*replies, sep="\n")


def demo() -> None:
    """Play a short conversation on a service of its own. Exit code 1 if a reply is missing."""
    with tempfile.TemporaryDirectory(prefix="mirt-demo-") as folder:
        port = _free_port()
        environment = {
            **{k: v for k, v in os.environ.items() if k not in {"RABBITMQ_URL", "REDIS_URL"}},
            "DATABASE_URL": f"sqlite:///{Path(folder) / 'demo.db'}",
            "LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "-m", "service.cli", "up", "--port", str(port)]
        with subprocess.Popen(command, env=environment) as service:  # noqa: S603 - our own program
            try:
                is_answered = _converse(environment, port)
            finally:
                service.terminate()
    if not is_answered:
        print("the demo failed: a reply is missing", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{len(CONVERSATION)} messages, {len(CONVERSATION)} replies.")


def _converse(environment: dict[str, str], port: int) -> bool:
    os.environ.update(environment)
    for name in ("RABBITMQ_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    settings = read_settings()
    _wait_until_alive(port)
    base = f"http://{HOST}:{port}"
    sent = (_post(settings, base, _update(text, CHAT)) for text in CONVERSATION)
    return all(_wait_for_replies(settings, trace_id, within_s=ANSWER_WITHIN_S) for trace_id in sent)


_updates = itertools.count(int(time.time()))


def _wait_for_replies(settings: Settings, trace_id: str, *, within_s: float) -> list[str] | None:
    """Return the replies to the message of this trace, or None after ``within_s`` seconds."""
    runtime = open_runtime(settings)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if replies := runtime.deliveries.sent_in(trace_id):
            return replies
        time.sleep(0.1)
    return None


def _update(text: str, chat: int) -> dict[str, Any]:
    number = next(_updates)
    return {
        "update_id": number,
        "message": {
            "message_id": number,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Customer"},
            "text": text,
        },
    }


def _post(settings: Settings, base: str, update: dict[str, Any]) -> str:
    request = urllib.request.Request(  # noqa: S310 - http by construction
        f"{base}/webhooks/telegram",
        data=json.dumps(update).encode(),
        headers={"Content-Type": "application/json"},
    )
    if secret := settings.telegram_webhook_secret:
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
