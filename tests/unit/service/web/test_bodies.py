"""A body is read up to its limit, and each way in which it is wrong has its own answer."""

from typing import Any

import pytest
from structlog.typing import EventDict

from service.web.bodies import LONGEST_BODY, LONGEST_EVENT
from tests.asgi import post_pieces
from tests.deployment import SECRET
from tests.unit.service.conftest import Ingress, Open

PIECE = 4096
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET, "Content-Type": "application/json"}


def chunked(here: Ingress, body: bytes, *more: bytes) -> tuple[int, Any, int]:
    """Post as a server does for ``Transfer-Encoding: chunked``; return the pieces taken, too."""
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    return post_pieces(here.client.app, "/webhooks/telegram", [*pieces, *more], headers=HEADERS)


def padded(size: int) -> bytes:
    return b'{"update_id": 1, "poll": {}}'.ljust(size)


TOO_LARGE = {"status": "ignored", "kind": "too_large"}
MIB = 1024 * 1024


def posted_whole(here: Ingress, body: bytes, **headers: str) -> tuple[int, Any, int]:
    """Post as a client does that says the length; return the pieces taken, too."""
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    headers = {**HEADERS, "Content-Length": str(len(body)), **headers}
    return post_pieces(here.client.app, "/webhooks/telegram", pieces, headers=headers)


def test_an_event_of_the_greatest_length_is_taken(ingress: Open) -> None:
    assert ingress().post(padded(LONGEST_EVENT)).json["kind"] == "other"
    assert chunked(ingress(), padded(LONGEST_EVENT))[1]["kind"] == "other"


@pytest.mark.parametrize("post", [posted_whole, chunked])
@pytest.mark.parametrize("size", [LONGEST_EVENT + 1, MIB, 20 * MIB])
def test_a_larger_event_is_ignored_by_its_id_since_a_refusal_would_block_its_chat(
    ingress: Open, logs: list[EventDict], post: Any, size: int
) -> None:
    assert post(ingress(), padded(size))[:2] == (200, TOO_LARGE)
    (line,) = [line for line in logs if line["event"] == "event_too_large"]
    assert line["event_id"] == "1"


def test_a_larger_event_is_read_to_its_end_so_that_its_answer_arrives(ingress: Open) -> None:
    assert posted_whole(ingress(), padded(MIB))[2] == MIB // PIECE


def test_of_an_endless_event_no_more_than_four_megabytes_are_read(ingress: Open) -> None:
    status, answer, taken = chunked(ingress(), padded(20 * MIB))
    assert (status, answer) == (200, TOO_LARGE)
    assert taken * PIECE < 5 * MIB


def test_a_larger_event_that_does_not_end_is_answered_in_time(
    ingress: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.bodies.BODY_WITHIN_S", 0.2)
    app, headers = ingress().client.app, {**HEADERS, "Content-Length": str(MIB)}
    status, answer, _ = post_pieces(
        app, "/webhooks/telegram", [padded(PIECE)], headers=headers, stalls=True
    )
    assert (status, answer) == (200, TOO_LARGE)


def test_a_larger_event_without_an_id_is_ignored_too(ingress: Open, logs: list[EventDict]) -> None:
    assert ingress().post(b" " * (LONGEST_EVENT + 1)).json == TOO_LARGE
    (line,) = [line for line in logs if line["event"] == "event_too_large"]
    assert line["event_id"] is None


def test_without_the_secret_a_large_body_is_refused_unread(ingress: Open) -> None:
    wrong = {"X-Telegram-Bot-Api-Secret-Token": "wrong"}
    status, _, taken = posted_whole(ingress(), padded(MIB), **wrong)
    assert status == 401
    assert taken <= 1


def test_of_an_endless_request_of_ours_no_more_than_the_limit_is_read(ingress: Open) -> None:
    pieces = [b" " * PIECE] * (10 * LONGEST_BODY // PIECE)
    app = ingress().client.app
    status, answer, taken = post_pieces(app, "/tasks/summarize", pieces, headers=HEADERS)
    assert (status, answer["error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert taken <= LONGEST_BODY // PIECE + 1


def test_a_body_that_breaks_off_is_the_senders_mistake(ingress: Open) -> None:
    status, answer, _ = chunked(ingress(), b'{"update_id": 1', b"")
    assert (status, answer["error"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize("path", ["/webhooks/telegram", "/tasks/summarize"])
def test_a_body_that_does_not_come_in_time_is_refused(
    ingress: Open, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("service.web.bodies.BODY_WITHIN_S", 0.05)
    monkeypatch.setattr("service.web.ingress.BODY_WITHIN_S", 0.05)
    app = ingress().client.app
    status, answer, _ = post_pieces(app, path, [b"{"], headers=HEADERS, stalls=True)
    assert (status, answer["error"]) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON"],
)
def test_json_is_taken_however_it_is_called(ingress: Open, media_type: str) -> None:
    answer = ingress().post(padded(100), headers={"Content-Type": media_type})
    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "json"])
def test_a_body_that_is_declared_as_no_json_is_refused(ingress: Open, media_type: str) -> None:
    answer = ingress().post(padded(100), headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"{", "not JSON"),
        (b'{"update_id": NaN}', "not JSON"),
        (b'{"update_id": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"update_id": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 30_000, "nested too deeply"),
        (b"[" * 30_000 + b"]" * 30_000, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_reason(
    ingress: Open, body: bytes, why: str
) -> None:
    answer = ingress().post(body)
    assert answer.status_code == 400
    assert why in answer.json["message"]


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1.5", b"true", b"9223372036854775809"])
def test_a_number_that_is_no_id_is_refused_by_its_field(ingress: Open, number: bytes) -> None:
    answer = ingress().post(
        b'{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":%s,"type":"private"}}}'
        % number
    )
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert answer.json["message"].startswith("message.chat.id: ")
    assert number.decode() not in answer.json["message"], "no value is named"


@pytest.mark.parametrize("body", [b"[]", b"[[]]", b'"text"', b"1", b"1.5", b"true", b"null"])
def test_json_that_is_no_object_is_refused(ingress: Open, body: bytes) -> None:
    answer = ingress().post(body)
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert "object" in answer.json["message"]
