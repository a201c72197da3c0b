"""``mirt up`` keeps its files and its bot to itself."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.fakes import FakeServices
from tests.system.conftest import Embedded


def rights(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


def test_no_other_user_reads_the_customers_words(embedded: Embedded) -> None:
    embedded.up()
    assert embedded.mirt("send", "hello", "--port", str(embedded.port)).returncode == 0
    folder = embedded.home / "var"
    assert rights(folder) == "700"
    assert {rights(file) for file in folder.glob("mirt.db*")} == {"600"}


def test_a_file_of_an_older_version_is_closed_to_others(embedded: Embedded) -> None:
    (embedded.home / "var").mkdir(mode=0o755)
    (embedded.home / "var/mirt.db").touch(mode=0o644)
    embedded.up()
    assert rights(embedded.home / "var/mirt.db") == "600"


def test_a_bot_gets_a_secret_that_stays(connected: Embedded, services: FakeServices) -> None:
    assert connected.mirt("telegram", "set-webhook", "https://shop.example").returncode == 0
    webhook = services.telegram.webhook
    assert webhook is not None
    secret = webhook["secret_token"]
    assert len(secret) >= 40
    assert rights(connected.home / "var/webhook-secret") == "600"
    connected.up()
    for given, status in ((secret, 200), ("wrong", 403), ("", 403)):
        request = urllib.request.Request(
            f"http://127.0.0.1:{connected.port}/webhooks/telegram",
            data=b'{"update_id": 1}',
            headers={
                "Host": "shop.example",
                "Content-Type": "application/json",
                "X-Telegram-Bot-Api-Secret-Token": given,
            },
        )
        if status == 200:
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == status
        else:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10)
            assert refused.value.code == status
            refused.value.close()
    assert connected.mirt("telegram", "set-webhook", "https://shop.example").returncode == 0
    assert services.telegram.webhook == webhook
    assert secret not in connected.output
