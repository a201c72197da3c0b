"""ManyChat: what a flow's request becomes, and how a reply goes out."""

import json
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mirt.channels import InboundMessage, Marks
from mirt.channels.manychat import MOST_BUBBLES, ManyChatChannel, Platform
from mirt.channels.notes import labels_of
from mirt.channels.splitting import sendable
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
)
from tests.fakes import FakeServices, Hang, Status, TooMany
from tests.unit.channels.pace import CountedPace
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
    ("attachment", "label"),
    [
        ({"type": "audio", "payload": {"url": "https://cdn.example/a"}}, "аудіозапис"),
        ({"type": "video", "payload": {"url": "https://cdn.example/v"}}, "відео"),
        ({"type": "ig_reel", "payload": {"title": "Образи"}}, "відео Образи"),
        ({"type": "file"}, "файл"),
        ({"type": "story_mention", "payload": {"url": "https://cdn.example/s"}}, "історія"),
        ({"type": "share", "payload": {"title": "Сукня"}}, "допис Сукня"),
        ({"type": "image"}, "фото"),
        ({"type": "image", "payload": {"url": ""}}, "фото"),
        ({"type": "invented"}, "вкладення"),
        ({"type": 5, "payload": "x"}, "вкладення"),
        ("x", "вкладення"),
    ],
)
@pytest.mark.parametrize("text", [{}, {"text": ""}, {"text": None}])
def test_an_attachment_that_cannot_be_opened_is_named(
    attachment: object, label: str, text: dict[str, Any]
) -> None:
    message = channel().parse(shape_a(attachments=[attachment], **text))
    assert (message.text, labels_of(message.metadata)) == ("", [label])


def test_a_single_attachment_needs_no_list() -> None:
    message = channel().parse({"clientId": "42", "message": {"attachments": {"type": "audio"}}})
    assert labels_of(message.metadata) == ["аудіозапис"]


def test_a_place_and_a_link_become_text() -> None:
    place = {"type": "location", "payload": {"coordinates": {"lat": 50.45, "long": 30.52}}}
    link = {"type": "fallback", "payload": {"title": "Сукня", "url": "https://mirt.example/1"}}
    message = channel().parse(shape_a(text="сюди", attachments=[place, link]))
    assert message.text.split("\n") == [
        "[геолокація: 50.45, 30.52]",
        "[посилання: Сукня https://mirt.example/1]",
        "сюди",
    ]


def test_two_files_within_a_moment_are_no_double_click() -> None:
    keys = [
        channel()
        .parse(shape_a(attachments=[{"type": "audio", "payload": {"url": f"https://x/{n}"}}]))
        .metadata["content_key"]
        for n in (1, 2, 2)
    ]
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize(
    "detail",
    [
        {"name": 5},
        {"name": "Я" * 9000},
        {"instagram_username": {}},
        {"username": ["x"]},
    ],
)
def test_a_detail_of_another_shape_does_not_cost_the_message(detail: dict[str, Any]) -> None:
    message = channel().parse({"subscriber": {"id": 42, **detail}, "message": "Привіт"})
    assert message.text == "Привіт"
    assert len(message.metadata.get("first_name", "")) <= 100


@pytest.mark.parametrize("message_id", ["", "  ", {}, [], True, 4.5])
def test_an_unusable_message_id_counts_as_none(message_id: object) -> None:
    assert channel().parse(shape_a(text="hi", id=message_id)).message_id is None


def test_a_long_message_id_keeps_its_message_apart_from_others() -> None:
    ids = [channel().parse(shape_a(text="hi", id="m" * 4000 + end)).message_id for end in "112"]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0] or "") < 100


def test_words_beyond_what_the_service_takes_are_cut() -> None:
    assert len(channel().parse(shape_a(text="слово " * 5000)).text) == 8000


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


@pytest.mark.parametrize(
    ("chat_id", "bubbles"), [("42", 6), ("42@facebook", 2), ("42@whatsapp", 2), ("42@telegram", 2)]
)
def test_a_long_reply_is_several_bubbles_of_one_request(
    manychat: ManyChatChannel, services: FakeServices, chat_id: str, bubbles: int
) -> None:
    (part,) = manychat.split("слово " * 500, chat_id)
    manychat.send(chat_id, part)
    assert len(services.requests("manychat")) == 1
    assert len(services.sent("42")) == bubbles
    assert " ".join(services.sent("42")) == part


def test_a_reply_of_more_bubbles_than_a_request_takes_is_several_parts(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    text = "слово " * 2000
    parts = manychat.split(text)
    for part in parts:
        manychat.send("42", part)
    assert len(parts) == math.ceil(len(services.sent("42")) / MOST_BUBBLES) == 3
    assert " ".join(services.sent("42")) == text.strip()


@given(st.text(st.sampled_from("аb \n\r\t\0\x05\u202e\ud83d😀"), max_size=60))
def test_a_reply_with_control_characters_has_parts_without_them(text: str) -> None:
    assert "".join("".join(channel().split(text)).split()) == "".join(sendable(text).split())


def test_no_bubble_for_instagram_has_more_than_1000_bytes(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    for part in manychat.split("Слово " * 300):
        manychat.send("42", part)
    assert max(len(text.encode()) for text in services.sent("42")) <= 1000
    assert " ".join(services.sent("42")).split() == ["Слово"] * 300


PLATFORMS = [
    ("instagram", "42", "instagram"),
    ("Instagram", "42", "instagram"),
    ("facebook", "42@facebook", None),
    ("messenger", "42@facebook", None),
    ("whatsapp", "42@whatsapp", "whatsapp"),
    ("telegram", "42@telegram", "telegram"),
    ("carrier_pigeon", "42", "instagram"),
    (None, "42", "instagram"),
    (5, "42", "instagram"),
]


@pytest.mark.parametrize(("kind", "chat_id", "content_type"), PLATFORMS)
def test_the_platform_of_the_event_is_the_type_of_the_reply(
    manychat: ManyChatChannel,
    services: FakeServices,
    kind: object,
    chat_id: str,
    content_type: str | None,
) -> None:
    message = manychat.parse(shape_a(text="Привіт") | {"type": kind})
    assert (message.session_id, message.chat_id) == ("42", chat_id)
    assert manychat.send(str(message.chat_id), "Вітаю!").chat_id == chat_id
    (request,) = services.requests("manychat")
    assert request.body["subscriber_id"] == "42"
    assert request.body["data"]["content"].get("type") == content_type


def test_where_a_flow_names_no_platform_the_setting_counts(services: FakeServices) -> None:
    opened = ManyChatChannel(
        api_key=KEY,
        token=None,
        api_url=services.manychat_url,
        default_platform=Platform.WHATSAPP,
    )
    message = opened.parse({"clientId": "42", "message": "Привіт"})
    opened.send(str(message.chat_id), "Вітаю!")
    other = opened.parse({"clientId": "42", "message": "Привіт", "type": "instagram"})
    assert (message.chat_id, other.chat_id) == ("42", "42@instagram")
    assert services.requests("manychat")[0].body["data"]["content"]["type"] == "whatsapp"
    opened.close()


def test_an_id_with_an_at_sign_is_an_id(manychat: ManyChatChannel, services: FakeServices) -> None:
    message = manychat.parse({"clientId": "olia@shop.example", "message": "Привіт"})
    manychat.send(str(message.chat_id), "Вітаю!")
    assert services.sent("olia@shop.example") == ["Вітаю!"]


def test_fields_and_tags_are_set_for_the_subscriber(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    manychat.mark("42@whatsapp", Marks(fields={"size": "104"}, add_tags=["vip"]))
    assert services.manychat.fields["42"] == {"size": "104"}
    assert services.manychat.tags["42"] == {"vip"}


def test_only_telegram_lets_us_write_at_any_time(manychat: ManyChatChannel) -> None:
    assert manychat.messaging_window("42@telegram") is None
    for chat_id in ("42", "42@facebook", "42@whatsapp", "42@instagram"):
        assert manychat.messaging_window(chat_id) == timedelta(hours=24)


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


def test_a_refusal_of_our_key_is_an_outage(
    manychat: ManyChatChannel, services: FakeServices
) -> None:
    services.misbehave("manychat", Status(401, {"status": "error", "message": "Wrong token"}))
    with pytest.raises(OutageError, match="manychat refuses us: 401 Wrong token") as outage:
        manychat.send("42", "Вітаю!")
    assert outage.value.setting == "MANYCHAT_API_KEY"


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


def test_each_call_waits_for_the_pace_of_its_kind(services: FakeServices) -> None:
    sends, marks = CountedPace(), CountedPace()
    manychat = ManyChatChannel(
        api_key=KEY, token=None, api_url=services.manychat_url, send_rate=sends, mark_rate=marks
    )
    manychat.send("42", "hello")
    assert (sends.waited, marks.waited) == (1, 0)
    manychat.mark("42", Marks(fields={"size": "104", "color": "blue"}, add_tags=["vip"]))
    assert (sends.waited, marks.waited) == (1, 3)
    manychat.close()
