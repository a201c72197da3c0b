"""A body is read up to its limit, and each way in which it is wrong has its own answer."""

from io import BytesIO
from typing import Any

import pytest
from structlog.typing import EventDict

from service.web.bodies import LONGEST_BODY, LONGEST_EVENT
from tests.deployment import SECRET
from tests.unit.service.conftest import Ingress, Open


class Counted(BytesIO):
    """A stream that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self.taken += len(chunk)
        return chunk


def chunked(here: Ingress, stream: BytesIO) -> tuple[int, dict[str, Any]]:
    """Post as a server does for ``Transfer-Encoding: chunked``: an input that ends by itself."""
    answer = here.client.simulate_post(
        "/webhooks/telegram",
        headers={
            "X-Telegram-Bot-Api-Secret-Token": SECRET,
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        },
        extras={"wsgi.input": stream, "wsgi.input_terminated": True},
    )
    return answer.status_code, answer.json


def padded(size: int) -> bytes:
    return b'{"update_id": 1, "poll": {}}'.ljust(size)


TOO_LARGE = {"status": "ignored", "kind": "too_large"}


def test_an_event_of_the_greatest_length_is_taken(ingress: Open) -> None:
    assert ingress().post(padded(LONGEST_EVENT)).json["kind"] == "other"


@pytest.mark.parametrize("size", [LONGEST_EVENT + 1, 1024 * 1024, 20 * 1024 * 1024])
def test_a_larger_event_is_ignored_by_its_id_since_a_refusal_would_block_its_chat(
    ingress: Open, logs: list[EventDict], size: int
) -> None:
    answer = ingress().post(padded(size))
    assert (answer.status_code, answer.json) == (200, TOO_LARGE)
    (line,) = [line for line in logs if line["event"] == "event_too_large"]
    assert line["event_id"] == "1"


def test_the_rest_of_a_larger_event_is_read_so_that_its_answer_arrives(ingress: Open) -> None:
    stream = Counted(padded(1024 * 1024))
    ingress().post(padded(1024 * 1024), extras={"wsgi.input": stream})
    assert stream.taken == 1024 * 1024


def test_of_an_endless_event_no_more_than_four_megabytes_are_read(ingress: Open) -> None:
    stream = Counted(padded(20 * 1024 * 1024))
    assert chunked(ingress(), stream) == (200, TOO_LARGE)
    assert stream.taken <= LONGEST_EVENT + 1 + 4 * 1024 * 1024


def test_a_larger_event_without_an_id_is_ignored_too(ingress: Open, logs: list[EventDict]) -> None:
    assert ingress().post(b" " * (LONGEST_EVENT + 1)).json == TOO_LARGE
    (line,) = [line for line in logs if line["event"] == "event_too_large"]
    assert line["event_id"] is None


def test_without_the_secret_a_large_body_is_refused_unread(ingress: Open) -> None:
    here, stream = ingress(), Counted(padded(LONGEST_EVENT + 1))
    answer = here.post(stream.getvalue(), secret="wrong", extras={"wsgi.input": stream})
    assert (answer.status_code, stream.taken) == (401, 0)


def test_a_request_of_ours_that_is_too_long_is_refused_unread(ingress: Open) -> None:
    here, stream = ingress(ops_token="operators-token"), Counted(padded(LONGEST_BODY + 1))
    answer = here.client.simulate_post(
        "/tasks/summarize",
        body=stream.getvalue(),
        headers={"Authorization": "Bearer operators-token", "Content-Type": "application/json"},
        extras={"wsgi.input": stream},
    )
    assert (answer.status_code, answer.json["error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert stream.taken == 0


def test_a_chunked_body_is_taken(ingress: Open) -> None:
    assert chunked(ingress(), BytesIO(padded(LONGEST_EVENT)))[0] == 200


def test_a_body_that_breaks_off_is_the_senders_mistake(ingress: Open) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    status, answer = chunked(ingress(), Broken())
    assert (status, answer["error"]) == (400, "INVALID_JSON")


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


@pytest.mark.parametrize("body", [b"[]", b"[[]]", b'"text"', b"1", b"1.5", b"true", b"null"])
def test_json_that_is_no_object_is_refused(ingress: Open, body: bytes) -> None:
    answer = ingress().post(body)
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert "object" in answer.json["message"]
