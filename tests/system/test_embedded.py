"""One command, one process: what a newcomer sees, and what survives kill -9."""

import json
import re
import urllib.request
from typing import Any

from tests.deployment import update
from tests.fakes import FakeServices, Hang
from tests.polling import wait_until
from tests.system.conftest import Embedded


def post(service: Embedded, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/webhooks/telegram",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_the_embedded_service_says_where_it_listens_and_what_to_try(embedded: Embedded) -> None:
    embedded.up()
    assert f"http://127.0.0.1:{embedded.port}" in embedded.output
    assert "mirt send" in embedded.output
    assert "scripted agent" in embedded.output


def test_the_link_that_it_prints_opens_the_page_and_no_log_knows_the_token(
    embedded: Embedded,
) -> None:
    embedded.settings = {"LOG_LEVEL": "DEBUG"}
    embedded.up()
    found = re.search(r"look +(http://\S+/ops\?token=(\S+))", embedded.output)
    assert found is not None
    jar = urllib.request.HTTPCookieProcessor()
    with urllib.request.build_opener(jar).open(found[1], timeout=10) as page:
        assert page.url == f"http://127.0.0.1:{embedded.port}/ops"
        assert "<h1" in page.read().decode()
    work = urllib.request.Request(
        f"http://127.0.0.1:{embedded.port}/tasks/summarize",
        data=b'{"session_id": "7"}',
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {found[2]}"},
    )
    with urllib.request.urlopen(work, timeout=10) as answer:
        assert answer.status == 202
    assert embedded.output.count(found[2]) == 1


def test_an_ops_token_of_ones_own_is_not_printed(embedded: Embedded) -> None:
    embedded.settings = {"OPS_TOKEN": "one-of-our-own"}
    embedded.up()
    assert "log in with OPS_TOKEN" in embedded.output
    assert "one-of-our-own" not in embedded.output


def test_a_message_is_answered_by_an_agent_that_says_what_it_is(embedded: Embedded) -> None:
    embedded.up()
    answer = embedded.mirt("send", "Привіт 👋", "--port", str(embedded.port))
    assert answer.returncode == 0, answer.stderr
    assert "LLM_API_KEY" in answer.stdout
    wait_until(lambda: "→ 1001 Привіт 👋" in embedded.output and "← 1001" in embedded.output)


def test_a_photo_with_a_caption_reaches_the_agent(
    connected: Embedded, services: FakeServices
) -> None:
    connected.up()
    photo = {"photo": [{"file_id": "small"}, {"file_id": "large"}], "caption": "Є такий розмір? 👗"}
    body = update(7, 1, "", **photo)
    del body["message"]["text"]
    post(connected, body)
    [reply] = wait_until(lambda: services.sent(7))
    assert "Є такий розмір? 👗" in reply
    assert "[фото]" in str(services.requests("llm")[0].body)


def test_a_message_killed_in_mid_turn_is_answered_once_after_the_restart(
    connected: Embedded, services: FakeServices
) -> None:
    services.misbehave("llm", Hang())
    process = connected.up()
    post(connected, update(7, 1, "Привіт"))
    wait_until(lambda: services.requests("llm"))
    process.kill()
    process.wait()
    connected.up()
    wait_until(lambda: services.sent(7))
    assert "taken up  1 message" in connected.output
    post(connected, update(7, 1, "Привіт"))
    post(connected, update(7, 2, "Дякую"))
    wait_until(lambda: len(services.sent(7)) == 2)
    assert "Дякую" in services.sent(7)[1]


def test_a_second_process_on_the_same_file_is_refused(embedded: Embedded) -> None:
    embedded.up()
    second = embedded.mirt("up", "--port", "1")
    assert second.returncode != 0
    assert "already running" in second.stderr


def test_a_port_that_is_taken_is_named(embedded: Embedded, services: FakeServices) -> None:
    taken = services.url.rpartition(":")[2]
    refused = embedded.mirt("up", "--port", taken)
    assert refused.returncode != 0
    assert f"127.0.0.1:{taken}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_embedded_service_stops_cleanly_when_it_is_told_to(embedded: Embedded) -> None:
    process = embedded.up()
    process.terminate()
    assert process.wait(15) == 0
    assert "Traceback" not in embedded.output


def test_the_demo_gets_every_reply(embedded: Embedded) -> None:
    played = embedded.mirt("demo")
    assert played.returncode == 0, played.stderr
    assert "3 messages, 3 replies" in played.stdout
    scenes = ("a contact card", "a voice message", "an album")
    assert [scene for scene in scenes if scene not in played.stdout] == []
    assert len(set(re.findall(r"mirt-\d{8}-\w{16}", played.stdout))) == 1


def test_sending_to_nobody_says_what_to_do(embedded: Embedded) -> None:
    refused = embedded.mirt("send", "Привіт", "--port", str(embedded.port))
    assert refused.returncode != 0
    assert "make run" in refused.stderr
