"""docs/first-bot.md, played word for word against the fake services."""

import json
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from tests.deployment import update
from tests.fakes import FakeServices
from tests.polling import wait_until
from tests.system.conftest import Embedded

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/first-bot.md").read_text()
PLACEHOLDERS: Final = {"123456:AAF…": "123456:token", "sk-or-…": "llm-key"}
"""Secrets that the page leaves out, with those that the fake services take."""


def blocks(kind: str) -> list[str]:
    """Return the code blocks of one kind, in the order of the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the arguments of each command ``mirt`` that the page shows."""
    return re.findall(r"^\$ \.venv/bin/mirt (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def shop(embedded: Embedded, services: FakeServices) -> Embedded:
    """A folder with the files and the ``.env`` of the page, and the fake services behind it."""
    for name in ("docs/shop/prompt.txt", "docs/shop/texts.toml"):
        target = embedded.home / "var" / Path(name).name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target)
    written = "".join(blocks("ini"))
    for placeholder, value in PLACEHOLDERS.items():
        assert placeholder in written
        written = written.replace(placeholder, value)
    (embedded.home / ".env").write_text(written)
    embedded.settings = {
        "TELEGRAM_API_URL": services.telegram_url,
        "LLM_BASE_URL": services.llm_url,
    }
    return embedded


def test_a_newcomer_who_follows_the_page_gets_an_answer_in_telegram(
    shop: Embedded, services: FakeServices
) -> None:
    shop.up()
    assert "messages  come by polling, since no webhook is set" in shop.output
    assert "write to @fake_bot in Telegram" in shop.output
    services.write(update(7, 1, "Скільки коштує сукня на 5 років?"))
    [reply] = wait_until(lambda: services.sent(7))
    assert "сукня" in reply


def test_the_doctor_finds_nothing_wrong_with_the_bot_of_the_page(
    shop: Embedded, services: FakeServices
) -> None:
    assert "doctor" in commands()
    shop.up()
    found = shop.mirt("doctor")
    assert "nothing is wrong" in found.stdout, found.stdout
    assert found.returncode == 0


def test_every_command_of_the_page_exists(embedded: Embedded) -> None:
    assert commands()
    for command in commands():
        known = embedded.mirt(*[w for w in command.split() if not w.startswith("http")], "--help")
        assert known.returncode == 0, f"{command}: {known.stderr}"


def test_the_request_of_manychat_that_the_page_shows_is_accepted(embedded: Embedded) -> None:
    [body] = blocks("json")
    flow = json.loads(body)
    flow["message"]["text"] = "Є сукня?"
    embedded.settings = {"MANYCHAT_VERIFY_TOKEN": "a-secret-of-the-shop"}
    embedded.up()
    request = urllib.request.Request(
        f"http://127.0.0.1:{embedded.port}/webhooks/manychat",
        json.dumps(flow).encode(),
        {"Content-Type": "application/json", "X-ManyChat-Token": "a-secret-of-the-shop"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {"status": "accepted"}
