"""Events as platforms send them, for tests that take any of them: Hypothesis strategies."""

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

IDS = st.integers(min_value=1, max_value=2**53)
TEXTS = st.text(max_size=40)
TIMES = st.integers(min_value=1_000_000_000, max_value=2_000_000_000)
USERS = st.fixed_dictionaries(
    {"id": IDS, "is_bot": st.sampled_from([False] * 9 + [True]), "first_name": TEXTS},
    optional={"username": TEXTS, "last_name": TEXTS, "language_code": TEXTS},
)
PRIVATE_CHATS = st.fixed_dictionaries({"id": IDS, "type": st.just("private")})
CHATS = (
    PRIVATE_CHATS
    | PRIVATE_CHATS
    | st.fixed_dictionaries(
        {
            "id": IDS.map(lambda chat: -chat),
            "type": st.sampled_from(["group", "supergroup", "channel"]),
            "title": TEXTS,
        }
    )
)
FILES = st.fixed_dictionaries(
    {"file_id": TEXTS, "file_unique_id": TEXTS},
    optional={"file_name": TEXTS, "mime_type": st.sampled_from(["image/png", "audio/ogg", ""])},
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
PLACES = st.fixed_dictionaries({"latitude": NUMBERS, "longitude": NUMBERS})
ENTITIES = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["mention", "bot_command", "text_link", "text_mention"]),
            "offset": st.integers(min_value=0, max_value=60),
            "length": st.integers(min_value=1, max_value=60),
        },
        optional={"url": TEXTS, "user": USERS},
    ),
    max_size=4,
)
SPANS = st.fixed_dictionaries({"type": st.just("bold"), "text": TEXTS})
RICH = st.recursive(TEXTS | SPANS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
BLOCKS = st.lists(
    st.fixed_dictionaries({"type": st.just("paragraph"), "text": RICH})
    | st.fixed_dictionaries({"type": st.just("photo"), "photo": st.lists(FILES)}),
    max_size=3,
)
ITEMS = st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=4)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["file_id", "text", "emoji", "user"]), inner, max_size=3)
    ),
    max_leaves=8,
)
CONTENT: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(min_size=1, max_size=200),
    "photo": st.lists(FILES, min_size=1, max_size=3),
    "contact": st.fixed_dictionaries(
        {"phone_number": TEXTS, "first_name": TEXTS}, optional={"user_id": IDS, "vcard": TEXTS}
    ),
    "location": PLACES,
    "venue": st.fixed_dictionaries({"location": PLACES, "title": TEXTS, "address": TEXTS}),
    "poll": st.fixed_dictionaries({"question": TEXTS, "options": ITEMS}),
    "checklist": st.fixed_dictionaries({"title": TEXTS, "tasks": ITEMS}),
    "dice": st.fixed_dictionaries({"emoji": TEXTS, "value": st.integers(1, 64)}),
    "game": st.fixed_dictionaries({"title": TEXTS, "description": TEXTS}),
    "rich_message": st.fixed_dictionaries({"blocks": BLOCKS}),
    **dict.fromkeys(("voice", "audio", "video", "video_note", "document", "animation"), FILES),
    "sticker": st.fixed_dictionaries({"file_id": TEXTS}, optional={"emoji": TEXTS}),
    **dict.fromkeys(("story", "paid_media", "giveaway", "gift", "pinned_message"), ANYTHING),
    "new_chat_members": st.lists(USERS, max_size=2),
    "invented_by_telegram": ANYTHING,
}
REPLIED = st.fixed_dictionaries(
    {"message_id": IDS, "chat": CHATS},
    optional={"from": USERS, "text": TEXTS, "photo": st.lists(FILES), "poll": CONTENT["poll"]},
)
ORIGINS = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "hidden_user", "chat", "channel"])},
    optional={"sender_user": USERS, "sender_user_name": TEXTS, "chat": CHATS, "sender_chat": CHATS},
)


@st.composite
def messages(draw: st.DrawFn) -> Json:
    """A message with one kind of content and any of the parts that go with all kinds."""
    kind = draw(st.sampled_from(sorted(CONTENT)))
    sender = draw(USERS)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "caption": TEXTS,
        "entities": ENTITIES,
        "caption_entities": ENTITIES,
        "reply_to_message": REPLIED,
        "external_reply": st.fixed_dictionaries({"origin": ORIGINS}),
        "quote": st.fixed_dictionaries({"text": TEXTS, "position": st.integers(0, 100)}),
        "forward_origin": ORIGINS,
        "message_thread_id": IDS,
        "is_topic_message": st.just(value=True),
        "is_automatic_forward": st.sampled_from([False] * 9 + [True]),
        "media_group_id": TEXTS,
        "via_bot": USERS,
    }
    return {
        "message_id": draw(IDS),
        "date": draw(TIMES),
        "chat": draw(CHATS),
        "from": sender,
        kind: draw(CONTENT[kind]),
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }


@st.composite
def updates(draw: st.DrawFn) -> Json:
    """An update with a message, an edit, or a block."""
    kind = draw(st.sampled_from(["message", "message", "edited_message", "my_chat_member"]))
    if kind == "my_chat_member":
        member = {"status": draw(st.sampled_from(["kicked", "member", "left", "administrator"]))}
        inner = {
            "chat": draw(CHATS),
            "from": draw(USERS),
            "date": draw(TIMES),
            "new_chat_member": member,
        }
    else:
        edit = {"edit_date": draw(TIMES)} if kind == "edited_message" else {}
        inner = {**draw(messages()), **edit}
    return {"update_id": draw(IDS), kind: inner}


ATTACHMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["image", "audio", "story_mention", "share", "location", "x"]),
            "payload": st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    "url": TEXTS,
                    "title": TEXTS,
                    "coordinates": st.fixed_dictionaries({"lat": NUMBERS, "long": NUMBERS}),
                },
            ),
        }
    ),
    min_size=1,
    max_size=3,
)
DETAILS = st.none() | TEXTS | st.integers() | st.just("Я" * 3000)
FLOWS = st.fixed_dictionaries(
    {
        "subscriber": st.fixed_dictionaries(
            {"id": IDS | IDS.map(str)},
            optional={"name": DETAILS, "username": DETAILS, "instagram_username": DETAILS},
        ),
        "message": st.fixed_dictionaries(
            {"text": TEXTS},
            optional={"id": DETAILS, "image_url": st.none() | TEXTS, "attachments": ATTACHMENTS},
        )
        | st.fixed_dictionaries({"attachments": ATTACHMENTS})
        | st.text(min_size=1),
    },
    optional={"type": DETAILS | st.sampled_from(["instagram", "facebook"]), "event_id": DETAILS},
)
"""Requests of ManyChat's flows in which at least something came."""
