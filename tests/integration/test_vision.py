"""A model that sees gets the customers' pictures; one that does not answers all the same."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from mirt.channels.telegram import TelegramChannel
from mirt.turns import pictures
from service import dispatcher
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running

Run = Callable[..., Running]
JPEG = b"\xff\xd8\xff\xe0 a dress"
WEBP = b"RIFF....WEBPVP8 a cat"
PHOTO: dict[str, Any] = {"photo": {"file_id": "dress"}}


@pytest.fixture(autouse=True)
def files(services: FakeServices) -> None:
    services.telegram.files |= {"dress": JPEG, "cat": WEBP, "scan": b"%PDF-1.7", "huge": JPEG * 9}


def hear(text: str = "", *, platform: str = "telegram", **metadata: Any) -> None:
    dispatcher.dispatch_message("42", text, platform, "42", fire_and_forget=True, metadata=metadata)


def asked(services: FakeServices) -> list[dict[str, Any]]:
    """Return the parts of the customer's last message in the latest request to the LLM."""
    content = services.requests("llm")[-1].body["messages"][-1]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def images(services: FakeServices) -> list[str]:
    return [part["image_url"]["url"] for part in asked(services) if part["type"] == "image_url"]


def data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def test_a_photo_is_looked_at_with_the_words_beside_it(run: Run, services: FakeServices) -> None:
    run("eager", LLM_VISION=True)
    hear("Є така?", **PHOTO)
    assert images(services) == [data_url("image/jpeg", JPEG)]
    assert asked(services)[0] == {"type": "text", "text": "[фото] Є така?"}
    assert services.sent("42") == ["echo: [фото] Є така?"]
    hear("А в синьому?")
    assert images(services) == []


def test_without_the_setting_no_picture_is_fetched(run: Run, services: FakeServices) -> None:
    run("eager")
    hear(**PHOTO)
    assert images(services) == []
    assert not [one for one in services.requests("telegram") if "getFile" in one.path]


def test_a_still_sticker_is_a_picture_and_a_moving_one_is_not(
    run: Run, services: FakeServices
) -> None:
    run("eager", LLM_VISION=True)
    unread = [{"kind": "sticker", "detail": "🐱"}]
    hear(sticker={"file_id": "cat"}, unread=unread)
    assert images(services) == [data_url("image/webp", WEBP)]
    hear(unread=unread)
    assert "не можу цього відкрити" in services.sent("42")[-1]


@pytest.mark.parametrize("file_id", ["gone", "scan", "huge"])
def test_a_picture_that_cannot_be_had_costs_no_answer(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch, file_id: str
) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 50)
    run("eager", LLM_VISION=True)
    hear("Є така?", photo={"file_id": file_id})
    assert images(services) == []
    assert services.sent("42") == ["echo: [фото] Є така?"]


def test_a_model_that_takes_no_pictures_is_asked_without_them(
    run: Run, services: FakeServices
) -> None:
    run("eager", LLM_VISION=True)
    refusal = {"error": {"message": "No endpoints found that support image input", "code": 404}}
    services.misbehave("llm", Status(404, refusal), times=1)
    hear("Є така?", **PHOTO)
    assert len(services.requests("llm")) == 2
    assert images(services) == []
    assert services.sent("42") == ["echo: [фото] Є така?"]


class Album:
    """A channel that has any picture, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def fetch_picture(self, source: Mapping[str, Any], *, largest: int, within_s: float) -> bytes:
        self.asked.append(source["file_id"])
        return JPEG


def test_of_many_pictures_the_latest_four_are_looked_at() -> None:
    album: Any = Album()
    mails: Any = [
        Kept(f"t{n}", {"photo": {"file_id": n}} if n != 5 else {"photo": "odd"}) for n in range(7)
    ]
    found = pictures.Pictures({"telegram": album}).of(mails)
    assert album.asked == [6, 4, 3, 2]
    assert set(found) == {"t6", "t4", "t3", "t2"}


class Kept:
    platform = "telegram"

    def __init__(self, task_id: str, metadata: dict[str, Any]) -> None:
        self.task_id = task_id
        self.metadata = metadata


@pytest.mark.parametrize(
    ("sticker", "found"),
    [
        ({"file_id": "s", "emoji": "🐱", "is_animated": False, "is_video": False}, "s"),
        ({"file_id": "s", "is_animated": True}, None),
        ({"file_id": "s", "is_video": True}, None),
        ({"file_id": ""}, None),
    ],
)
def test_only_a_still_sticker_is_kept_as_a_picture(
    sticker: dict[str, Any], found: str | None
) -> None:
    chat = {"id": 7, "type": "private"}
    message = {"message_id": 1, "date": 1, "chat": chat, "sticker": sticker}
    channel = TelegramChannel(token=SecretStr("1:t"), secret=None)
    inbound: Any = channel.parse({"update_id": 1, "message": message})
    assert inbound.metadata.get("sticker", {}).get("file_id") == found
