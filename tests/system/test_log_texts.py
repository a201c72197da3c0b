"""The log has the words of customers and replies with LOG_TEXTS, and never without."""

import json
from typing import Any

import pytest

from tests.polling import wait_until
from tests.system.conftest import Embedded

WORDS = "a secret of the customer 12345"


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_message_and_its_reply_are_logged_when_it_is_asked_for(
    embedded: Embedded, is_asked_for: bool
) -> None:
    embedded.settings = {"LOG_TEXTS": str(is_asked_for).lower(), "LOG_FORMAT": "json"}
    embedded.settings["LOG_LEVEL"] = "INFO"
    embedded.up()
    sent = embedded.mirt("send", WORDS, "--port", str(embedded.port))
    assert sent.returncode == 0

    def logged() -> list[dict[str, Any]]:
        lines = embedded.output.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    wait_until(lambda: "answered" in [line["event"] for line in logged()])
    texts = [(line["event"], line["text"]) for line in logged() if "text" in line]
    expected = [("message_accepted", WORDS), ("answered", sent.stdout.strip())]
    assert texts == (expected if is_asked_for else [])
    assert is_asked_for or WORDS not in embedded.output, "no line of another format has them"
