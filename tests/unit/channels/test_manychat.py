"""ManyChat: what a flow's request becomes, and how a reply goes out."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mirt.channels import InboundMessage
from mirt.channels.manychat import ManyChatChannel
from mirt.channels.protocol import Marks
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
)
from tests.fakes import FakeServices, Hang, Status, TooMany
from tests.unit.channels.payloads import json_with, nested

KEY = SecretStr("key")
PHOTO = "https://example.com/p.jpg"


def channel(token: str | None = "s3cret") -> ManyChatChannel:
    return ManyChatChannel(api_key=KEY, token=None if token is None else SecretStr(token))


def shape_a(**message: Any) -> dict[str, Any]:
    who = {"id": 42, "name": "Олена", "instagram_username": "olena"}
    return {"subscriber": who, "message": message, "type": "instagram"}


def test_a_subscriber_s_text_becomes_a_message() -> None:
    message = channel().parse(shape_a(text="Привіт", id="m1"))
    content_key = message.metadata["content_key"]
    assert message == InboundMessage(
        session_id="42",
        text="Привіт",
        platform="manychat",
        chat_id="42",
        user_id="42",
        message_id="m1",
        metadata={
            "content_key": content_key,
            "username": "olena",
            "first_name": "Олена",
        },
    )
    assert json.loads(json.dumps(message.metadata)) == message.metadata


@pytest.mark.parametrize(
    "payload",
    [
        {"user": {"user_id": "42"}, "message": {"content": "Привіт"}},
        {"user": {"id": None, "user_id": "42"}, "message": {"text": None, "content": "Привіт"}},
        {"subscriber": {"id": "42"}, "data": {"message": {"text": "Привіт"}}},
        {"subscriber": {"id": "42"}, "message": {}, "data": {"message": "Привіт"}},
        {"subscriber": {"id": "42"}, "message": "Привіт"},
        {"clientId": "42", "message": "Привіт"},
        {"sessionId": 42, "message": "Привіт", "type": "instagram"},
    ],
)
def test_every_spelling_is_understood(payload: object) -> None:
    message = channel().parse(payload)
    assert (message.session_id, message.text) == ("42", "Привіт")


@pytest.mark.parametrize(
    "payload",
    [
        shape_a(image=PHOTO),
        shape_a(image_url=PHOTO),
        shape_a(attachments=[{"type": "image", "payload": {"url": PHOTO}}]),
        shape_a(attachments=[{"type": "audio"}, {"type": "image", "payload": {"url": PHOTO}}]),
        {"clientId": "42", "message": None, "image_url": PHOTO},
    ],
)
def test_a_photo_may_come_without_a_text(payload: object) -> None:
    message = channel().parse(payload)
    assert (message.text, message.metadata["photo"]) == ("", {"url": PHOTO})


@pytest.mark.parametrize(
    "payload",
    [
        shape_a(text="hi", message_id="e7"),
        shape_a(text="hi") | {"message_id": "e7"},
        shape_a(text="hi") | {"event_id": "e7"},
    ],
)
def test_an_id_of_the_flow_is_the_message_id(payload: object) -> None:
    assert channel().parse(payload).message_id == "e7"


def test_without_an_id_only_the_content_tells_a_double_click() -> None:
    first, again = (channel().parse(shape_a(text="hi")) for _ in range(2))
    other = channel().parse(shape_a(text="hi", image=PHOTO))
    assert first.message_id is None
    keys = [message.metadata["content_key"] for message in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (None, ["payload"]),
        ("hi", ["payload"]),
        ({}, ["subscriber.id", "message.text"]),
        (shape_a(), ["message.text"]),
        ({"clientId": "42", "message": None}, ["message.text"]),
        ({"subscriber": {}, "message": "hi"}, ["subscriber.id"]),
        ({"subscriber": {"id": True}, "message": {"text": 5}}, ["subscriber.id", "message.text"]),
        ({"clientId": "", "message": ["hi"]}, ["clientId", "message"]),
    ],
)
def test_every_wrong_field_is_named(payload: object, fields: list[str]) -> None:
    with pytest.raises(PermanentError) as refused:
        channel().parse(payload)
    assert refused.value.error_code is ErrorCode.INVALID_INPUT
    for field in fields:
        assert f"{field}: " in refused.value.message


NAMES = ["subscriber", "user", "id", "user_id", "message", "text", "content", "attachments"]
NAMES += ["type", "payload", "url", "clientId", "data", "image_url", "message_id"]


@given(
    json_with(NAMES)
    | st.fixed_dictionaries({"clientId": st.text() | st.integers(), "message": json_with(NAMES)})
)
def test_no_json_raises_anything_but_our_error(payload: object) -> None:
    try:
        message = channel().parse(payload)
    except PermanentError as refused:
        assert refused.error_code is ErrorCode.INVALID_INPUT  # noqa: PT017 - or it is accepted
    else:
        assert message.session_id


@pytest.mark.parametrize("field", ["subscriber", "message", "data"])
def test_no_depth_of_nesting_is_too_deep(field: str) -> None:
    with pytest.raises(PermanentError):
        channel().parse({field: nested(100_000)})


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ManyChat-Token": "s3cret"},
        {"X-MANYCHAT-TOKEN": "s3cret"},
        {"AUTHORIZATION": "Bearer s3cret"},
        {"authorization": "bearer s3cret"},
    ],
)
def test_the_token_is_accepted_in_either_header(headers: dict[str, str]) -> None:
    assert channel().authenticate(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ManyChat-Token": ""},
        {"X-ManyChat-Token": "other"},
        {"Authorization": "s3cret"},
        {"Authorization": "Basic s3cret"},
    ],
)
def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    assert not channel().authenticate(headers)
    assert not channel("").authenticate(headers)


def test_without_a_token_everything_is_accepted() -> None:
    assert channel(None).authenticate({})


@pytest.fixture
def manychat(services: FakeServices) -> Iterator[ManyChatChannel]:
    opened = ManyChatChannel(api_key=KEY, token=None, api_url=services.manychat_url, timeout=0.5)
    yield opened
    opened.close()


def test_a_reply_arrives_in_one_bubble(manychat: ManyChatChannel, services: FakeServices) -> None:
    receipt = manychat.send("42", "Вітаю!")
    assert (receipt.provider_message_id, receipt.chat_id) == (None, "42")
    (request,) = services.requests("manychat", "/fb/sending/sendContent")
    assert request.headers["authorization"] == "Bearer key"
    assert request.body == {
        "subscriber_id": "42",
        "data": {
            "version": "v2",
            "content": {"type": "instagram", "messages": [{"type": "text", "text": "Вітаю!"}]},
        },
    }


def test_a_long_reply_is_several_bubbles_of_one_request(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    (part,) = manychat.split("слово " * 1000)
    manychat.send("42", part)
    assert len(services.requests("manychat")) == 1
    assert len(services.sent("42")) == 4
    assert " ".join(services.sent("42")) == part


def test_a_reply_of_more_bubbles_than_a_request_takes_is_several_parts(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    text = "слово " * 4000
    for part in manychat.split(text):
        manychat.send("42", part)
    assert " ".join(services.sent("42")) == text.strip()


def test_a_blank_reply_has_no_parts(manychat: ManyChatChannel) -> None:
    assert manychat.split(" \n") == []


@pytest.mark.parametrize("status", [200, 400, 403])
def test_a_refusal_is_permanent_whatever_its_status(
    manychat: ManyChatChannel, services: FakeServices, status: int
) -> None:
    refusal = {"status": "error", "message": "outside the 24 hours window"}
    services.misbehave("manychat", Status(status, refusal))
    with pytest.raises(PermanentError, match="outside the 24 hours window") as refused:
        manychat.send("42", "Вітаю!")
    assert refused.value.error_code is ErrorCode.CHANNEL_REFUSED


def test_429_says_how_long_to_wait(manychat: ManyChatChannel, services: FakeServices) -> None:
    services.misbehave("manychat", TooMany(retry_after=9))
    with pytest.raises(RateLimitError) as limited:
        manychat.send("42", "Вітаю!")
    assert limited.value.retry_after == 9


def test_a_tag_that_fails_may_be_set_again(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    services.misbehave("manychat", Status(502))
    with pytest.raises(ExternalServiceError) as failed:
        manychat.mark("42", Marks(add_tags=["vip"]))
    assert not isinstance(failed.value, OutcomeUnknownError)


@pytest.mark.parametrize(
    "how",
    [
        Hang(),
        Status(200, {"hello": "world"}),
        Status(502, applied=True),
        Status(500, {"status": "error"}),
    ],
)
def test_an_answer_that_is_lost_leaves_the_outcome_unknown(
    manychat: ManyChatChannel, services: FakeServices, how: Hang | Status
) -> None:
    services.misbehave("manychat", how)
    with pytest.raises(OutcomeUnknownError):
        manychat.send("42", "Вітаю!")
