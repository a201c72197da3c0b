"""Commands that play the customer: ``send`` one message, or a short conversation as a ``demo``."""

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

from mirt import runtime
from mirt.settings import Settings
from service.processes.startup import DEFAULT_PORT, HOST, read_settings

ANSWER_WITHIN_S: Final = 90.0
START_WITHIN_S: Final = 30.0
CHAT: Final = 1001
CONVERSATION: Final = ("Привіт! 👋", "Скільки коштує сукня на 5 років?", "Дякую, беру 💛")


def send(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    chat: Annotated[int, typer.Option(help="The chat it is written in.")] = CHAT,
    port: Annotated[int, typer.Option(envvar="PORT")] = DEFAULT_PORT,
) -> None:
    """Write to the running service as a customer would on Telegram, and show the reply."""
    settings = read_settings(quiet=True)
    replies = _ask(settings, f"http://{HOST}:{port}", text, chat=chat)
    if replies is None:
        print(f"no reply within {ANSWER_WITHIN_S:.0f} s", file=sys.stderr)
        raise typer.Exit(1)
    print(*replies, sep="\n")


def demo() -> None:
    """Play a short conversation on a service of its own; fails unless every reply came."""
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
                answered = _converse(environment, port)
            finally:
                service.terminate()
    if not answered:
        print("the demo failed: a reply is missing", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{len(CONVERSATION)} messages, {len(CONVERSATION)} replies.")


def _converse(environment: dict[str, str], port: int) -> bool:
    os.environ.update(environment)
    for name in ("RABBITMQ_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    settings = read_settings()
    _wait_until_alive(port)
    return all(_ask(settings, f"http://{HOST}:{port}", text, chat=CHAT) for text in CONVERSATION)


_updates = itertools.count(int(time.time()))


def _ask(settings: Settings, base: str, text: str, *, chat: int) -> list[str] | None:
    """The replies to this message; None when there is none in time."""
    trace_id = _post(settings, base, _update(text, chat))
    world = runtime.open_runtime(settings)
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < deadline:
        if replies := world.deliveries.sent_in(trace_id):
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
        print(f"{refused.code}: {refused.read().decode(errors='replace')}", file=sys.stderr)
    except urllib.error.URLError as failed:
        print(f"nothing answers on {base} ({failed.reason}); start it: make run", file=sys.stderr)
    raise typer.Exit(1)


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
