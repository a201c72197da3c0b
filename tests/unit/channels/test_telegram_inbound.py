"""A Telegram update becomes an inbound message, or nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mirt.channels import Ignored, InboundMessage, ReachabilityChange
from mirt.channels.telegram import TelegramChannel
from mirt.errors import ErrorCode, PermanentError
from mirt.idempotency import message_task_id
from tests.unit.channels.payloads import json_with, nested, scalars

TOKEN = SecretStr("1:token")


def channel(secret: str | None = "s3cret") -> TelegramChannel:
    return TelegramChannel(token=TOKEN, secret=None if secret is None else SecretStr(secret))


def update(**message: Any) -> dict[str, Any]:
    return {
        "update_id": 900,
        "message": {
            "message_id": 5,
            "date": 1735732800,
            "chat": {"id": -77, "type": "private"},
            "from": {
                "id": 42,
                "is_bot": False,
                "username": "olena",
                "first_name": "Олена",
                "language_code": "uk",
            },
            **message,
        },
    }


def parsed(payload: object) -> InboundMessage:
    message = channel().parse(payload)
    assert isinstance(message, InboundMessage)
    return message


def test_a_text_becomes_a_message_of_its_chat() -> None:
    assert parsed(update(text="Привіт")) == InboundMessage(
        session_id="-77",
        text="Привіт",
        platform="telegram",
        chat_id="-77",
        user_id="42",
        message_id="5",
        metadata={
            "update_id": 900,
            "sent_at": "2025-01-01T12:00:00+00:00",
            "username": "olena",
            "first_name": "Олена",
            "language_code": "uk",
        },
    )


def test_a_photo_brings_its_caption_and_its_largest_size() -> None:
    sizes = [{"file_id": "small", "width": 90}, {"file_id": "large", "width": 1280}]
    message = parsed(update(photo=sizes, caption="Є такий?"))
    assert (message.text, message.metadata["photo"]) == ("Є такий?", {"file_id": "large"})


def test_a_photo_without_a_caption_has_no_text() -> None:
    assert parsed(update(photo=[{"file_id": "one"}])).text == ""


def test_a_message_without_a_sender_is_still_a_message() -> None:
    payload = update(text="hi")
    del payload["message"]["from"]
    assert parsed(payload).user_id is None


def task_id_of(payload: object) -> str:
    message = parsed(payload)
    return message_task_id(
        message.platform, message.session_id, message.user_id, message.message_id
    )


def test_the_same_message_under_a_new_update_id_has_the_same_task_id() -> None:
    again = update(text="hi") | {"update_id": 12345678}
    assert task_id_of(again) == task_id_of(update(text="hi"))


def test_the_same_number_in_another_chat_is_another_message() -> None:
    other = update(text="hi", chat={"id": 78})
    assert task_id_of(other) != task_id_of(update(text="hi"))


def test_metadata_is_json() -> None:
    metadata = parsed(update(photo=[{"file_id": "one"}])).metadata
    assert json.loads(json.dumps(metadata)) == metadata


@pytest.mark.parametrize(
    "kind",
    ["edited_message", "channel_post", "callback_query", "my_chat_member", "message_reaction"],
)
def test_other_updates_are_ignored_by_their_kind(kind: str) -> None:
    assert channel().parse({"update_id": 1, kind: {"id": "x"}}) == Ignored(kind)


def test_a_kind_that_no_list_has_is_other_so_that_kinds_stay_few() -> None:
    assert channel().parse({"update_id": 1, "invented": {}}) == Ignored("other")


def test_a_name_is_cut_to_what_an_index_takes() -> None:
    payload = update(text="hi")
    payload["message"]["from"] |= {"first_name": "Я" * 3000, "username": "a\nb"}
    metadata = parsed(payload).metadata
    assert metadata["first_name"] == "Я" * 99 + "…"
    assert metadata["username"] == "a b"


def edited(**message: Any) -> dict[str, Any]:
    inner = {**update(**message)["message"], "edit_date": 1735732999}
    return {"update_id": 901, "edited_message": inner}


def test_an_edit_is_a_message_that_names_the_one_it_replaces() -> None:
    message = parsed(edited(text="Привіт!"))
    assert (message.text, message.session_id, message.message_id) == ("Привіт!", "-77", "5:901")
    assert (message.metadata["edit_of"], message.metadata["edited_at"]) == ("5", 1735732999)


def test_the_edits_of_a_live_location_are_ignored() -> None:
    place = {"latitude": 50.45, "longitude": 30.52, "live_period": 900}
    assert channel().parse(edited(location=place)) == Ignored("edited_message")


def membership(status: str, **chat: Any) -> dict[str, Any]:
    return {
        "update_id": 902,
        "my_chat_member": {
            "chat": {"id": 77, "type": "private", **chat},
            "from": {"id": 77, "is_bot": False, "first_name": "Олена"},
            "date": 1735732800,
            "old_chat_member": {"status": "member", "user": {"id": 1, "is_bot": True}},
            "new_chat_member": {"status": status, "user": {"id": 1, "is_bot": True}},
        },
    }


@pytest.mark.parametrize(("status", "is_reachable"), [("kicked", False), ("member", True)])
def test_a_block_and_its_end_are_news_of_the_customer(status: str, is_reachable: bool) -> None:
    at = datetime(2025, 1, 1, 12, tzinfo=UTC)
    change = ReachabilityChange("telegram", "77", is_reachable, at)
    assert channel().parse(membership(status)) == change


@pytest.mark.parametrize(
    "payload", [membership("kicked", type="supergroup"), membership("administrator")]
)
def test_the_bot_s_place_in_a_group_is_no_news_of_a_customer(payload: object) -> None:
    assert channel().parse(payload) == Ignored("my_chat_member")


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (None, ["payload"]),
        ([], ["payload"]),
        ({}, ["update_id"]),
        ({"update_id": "1"}, ["update_id"]),
        ({"update_id": 2**63}, ["update_id"]),
        ({"update_id": 1, "message": 5}, ["message"]),
        (update(chat={"id": "x"}), ["message.chat.id"]),
        (update(chat=None, text=7), ["message.chat", "message.text"]),
        (update(photo=[{}], date=-1), ["message.photo.0.file_id", "message.date"]),
        ({"update_id": 1, "message": {"from": {}}}, ["message.message_id", "message.from.id"]),
    ],
)
def test_every_wrong_field_is_named(payload: object, fields: list[str]) -> None:
    with pytest.raises(PermanentError) as refused:
        channel().parse(payload)
    assert refused.value.error_code is ErrorCode.INVALID_INPUT
    for field in fields:
        assert f"{field}: " in refused.value.message


def test_an_error_shows_no_value_and_none_of_our_class_names() -> None:
    with pytest.raises(PermanentError) as refused:
        channel().parse(update(text=["private words"], chat=[]))
    assert "private words" not in str(refused.value)
    assert "_Chat" not in str(refused.value)


def test_text_that_no_database_can_keep_is_taken_out() -> None:
    assert parsed(update(text="a\0b\ud83d")).text == "ab�"


NAMES = ["update_id", "message", "message_id", "chat", "from", "id", "text", "photo", "file_id"]


@given(
    json_with(NAMES)
    | st.fixed_dictionaries({"update_id": st.integers(), "message": json_with(NAMES)})
    | st.dictionaries(st.sampled_from([*NAMES, "date", "caption"]), scalars).map(
        lambda message: {"update_id": 1, "message": message | {"message_id": 1, "chat": {"id": 1}}}
    )
)
def test_no_json_raises_anything_but_our_error(payload: object) -> None:
    try:
        result = channel().parse(payload)
    except PermanentError as refused:
        assert refused.error_code is ErrorCode.INVALID_INPUT  # noqa: PT017 - or it is accepted
    else:
        assert isinstance(result, Ignored | InboundMessage)


@pytest.mark.parametrize(
    "field", ["text", "chat", "photo", "from", "sticker", "poll", "rich_message", "entities"]
)
def test_no_depth_of_nesting_is_too_deep(field: str) -> None:
    deep = update(**{field: nested(100_000)})
    try:
        result = channel().parse(deep)
    except PermanentError as refused:
        assert refused.error_code is ErrorCode.INVALID_INPUT  # noqa: PT017 - or it is accepted
    else:
        assert isinstance(result, InboundMessage)


HEADER = "X-Telegram-Bot-Api-Secret-Token"


@pytest.mark.parametrize("name", [HEADER, HEADER.upper(), HEADER.lower()])
def test_the_secret_is_found_under_any_case(name: str) -> None:
    assert channel("s3cret").authenticate({name: "s3cret"})


@pytest.mark.parametrize("given", ["", "S3CRET", "s3cret ", "s3cre", "секрет", "\udcff"])
def test_any_other_secret_is_refused(given: str) -> None:
    assert not channel("s3cret").authenticate({HEADER: given})


def test_a_webhook_without_the_header_is_refused() -> None:
    assert not channel("s3cret").authenticate({"CONTENT-TYPE": "application/json"})


def test_an_empty_secret_refuses_everything() -> None:
    assert not channel("").authenticate({HEADER: ""})
    assert not channel("").authenticate({})


def test_without_a_secret_everything_is_accepted() -> None:
    assert channel(None).authenticate({})
