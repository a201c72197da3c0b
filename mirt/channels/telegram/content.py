"""Read what a customer sent: every kind of content becomes text, a photo, or is named unreadable.

Only service messages have no content: a member joined, a message was pinned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mirt.channels import notes
from mirt.channels.splitting import well_formed
from mirt.channels.telegram.updates import Raw, has, raw, raw_list, raw_text
from mirt.channels.webhook import LONGEST_TEXT, clipped

_SERVICE: Final = (
    "new_chat_members",
    "left_chat_member",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "pinned_message",
    "successful_payment",
    "refunded_payment",
    "users_shared",
    "chat_shared",
    "connected_website",
    "write_access_allowed",
    "proximity_alert_triggered",
    "boost_added",
    "chat_background_set",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "giveaway_created",
    "giveaway_completed",
    "video_chat_scheduled",
    "video_chat_started",
    "video_chat_ended",
    "video_chat_participants_invited",
    "checklist_tasks_done",
    "checklist_tasks_added",
    "poll_option_added",
    "poll_option_deleted",
    "community_chat_added",
    "community_chat_removed",
    "suggested_post_approved",
    "suggested_post_approval_failed",
    "suggested_post_declined",
    "suggested_post_paid",
    "suggested_post_refunded",
    "chat_owner_left",
    "chat_owner_changed",
    "managed_bot_created",
    "gift",
    "gift_upgrade_sent",
    "unique_gift",
    "paid_message_price_changed",
    "direct_message_price_changed",
)
_UNREADABLE: Final = {
    "voice": "voice",
    "audio": "audio",
    "video_note": "video_note",
    "animation": "animation",
    "video": "video",
    "sticker": "sticker",
    "story": "story",
    "paid_media": "paid_media",
    "giveaway": "giveaway",
    "giveaway_winners": "giveaway",
    "passport_data": "passport_data",
}
"""Content that the service cannot open, with the kind under which notes know it."""
_DETAILS: Final = {"audio": "title", "sticker": "emoji", "document": "file_name"}
"""The field that tells one file or sticker from another."""
_MOST_ITEMS: Final = 30
_DEEPEST: Final = 40
_RICH_TEXTS: Final = ("summary", "text", "alternative_text", "expression", "caption", "credit")
_RICH_PARTS: Final = ("blocks", "items", "cells")
_RICH_BLOCKS: Final = frozenset(
    ("paragraph", "heading", "pre", "footer", "blockquote", "pullquote", "table", "details")
)


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one message. ``unread`` has the entries of ``notes.unread``."""

    text: str = ""
    photo: str | None = None
    """File id."""
    sticker: str | None = None
    """File id of a sticker that does not move: a picture, if pictures are looked at."""
    unread: list[dict[str, str]] = field(default_factory=list)


def service_kind(message: Raw) -> str | None:
    """Return the kind of a service message; None if the message has content."""
    return next((kind for kind in _SERVICE if has(message, kind)), None)


def read_content(message: Raw) -> Content | None:
    """Return the content of a message; None if it has none that we know.

    No shape of a part raises: a part that is malformed counts as unreadable.
    """
    words = _words(message)
    if words is not None and message.keys().isdisjoint(_BESIDE_WORDS):
        return Content(words)
    photo = _photo(message)
    lines, unread = [], list(_files(message, photo))
    for kind, read in _READERS.items():
        if has(message, kind) and not (kind == "location" and has(message, "venue")):
            if line := read(message):
                lines.append(line)
            else:
                unread.append(notes.unread(kind))
    if words is None and not lines and photo is None and not unread:
        return None
    text = "\n".join([*lines, words] if words else lines)
    return Content(text[:LONGEST_TEXT] if lines else text, photo, _still_sticker(message), unread)


def gist(message: Raw) -> str:
    """Return in one line what a message says, for a message that points at it; may be empty."""
    content = read_content(message)
    if content is None:
        return ""
    labels = [notes.PHOTO] if content.photo else []
    labels += notes.labels_of({"unread": content.unread})
    text = [notes.quoted(content.text)] if content.text.strip() else []
    return ", ".join([*labels, *text])


def _words(message: Raw) -> str | None:
    for name in ("text", "caption"):
        if isinstance(written := message.get(name), str):
            return well_formed(written)
    if has(message, "rich_message"):
        rich = "".join(_rich(message["rich_message"], _DEEPEST)).strip()
        return well_formed(rich)[:LONGEST_TEXT] or None
    return None


def _rich(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts of a rich message in reading order; a block ends its line."""
    if isinstance(value, str):
        yield value
    elif depth == 0:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _rich(item, depth - 1)
        if value and isinstance(value[0], dict) and "align" in value[0]:  # a row of a table
            yield "\n"
    elif isinstance(value, dict):
        for name in (*_RICH_TEXTS, *_RICH_PARTS):
            if name in value:
                yield from _rich(value[name], depth - 1)
        if raw_text(value, "type") in _RICH_BLOCKS:
            yield "\n"
        elif "align" in value:
            yield " "


def _photo(message: Raw) -> str | None:
    """Return the file id of the photo, also of one that was sent as a file."""
    sizes = raw_list(message, "photo")
    largest = raw_text(sizes[-1], "file_id") if sizes else ""
    document = raw(message, "document")
    if not largest and raw_text(document, "mime_type").startswith("image/"):
        largest = "" if has(message, "animation") else raw_text(document, "file_id")
    return well_formed(largest) or None


def _still_sticker(message: Raw) -> str | None:
    sticker = raw(message, "sticker")
    moves = sticker.get("is_animated") or sticker.get("is_video")
    return None if moves else well_formed(raw_text(sticker, "file_id")) or None


def _files(message: Raw, photo: str | None) -> Iterator[dict[str, str]]:
    kinds = [kind for kind in _UNREADABLE if has(message, kind)]
    if has(message, "document") and not has(message, "animation") and photo is None:
        kinds.append("document")
    for kind in kinds:
        detail = raw_text(raw(message, kind), _DETAILS.get(kind, ""))
        yield notes.unread(_UNREADABLE.get(kind, kind), detail)


def _contact(message: Raw) -> str:
    contact = raw(message, "contact")
    phone = raw_text(contact, "phone_number")
    name = " ".join(filter(None, (raw_text(contact, n) for n in ("first_name", "last_name"))))
    sender = raw(message, "from").get("id")
    own = sender is not None and contact.get("user_id") == sender
    label = notes.OWN_CONTACT if own else notes.CONTACT
    return notes.note(label, ", ".join(filter(None, (clipped(name, 100), phone)))) if phone else ""


def _coordinates(place: Raw) -> str:
    found = [place.get(name) for name in ("latitude", "longitude")]
    numbers = [x for x in found if isinstance(x, int | float) and not isinstance(x, bool)]
    return ", ".join(map(str, numbers)) if len(numbers) == 2 else ""


def _location(message: Raw) -> str:
    where = _coordinates(raw(message, "location"))
    return notes.note(notes.LOCATION, where) if where else ""


def _venue(message: Raw) -> str:
    venue = raw(message, "venue")
    names = [raw_text(venue, name) for name in ("title", "address")]
    where = ", ".join(filter(None, [*names, _coordinates(raw(venue, "location"))]))
    return notes.note(notes.PLACE, where) if where else ""


def _poll(message: Raw) -> str:
    poll = raw(message, "poll")
    return _list_note(notes.POLL, raw_text(poll, "question"), raw_list(poll, "options"))


def _checklist(message: Raw) -> str:
    checklist = raw(message, "checklist")
    return _list_note(notes.CHECKLIST, raw_text(checklist, "title"), raw_list(checklist, "tasks"))


def _list_note(label: str, title: str, items: list[Any]) -> str:
    lines = filter(None, (raw_text(item, "text") for item in items[:_MOST_ITEMS]))
    text = ": ".join(filter(None, (title, "; ".join(lines))))
    return notes.note(label, text, longest=LONGEST_TEXT // 4) if text else ""


def _dice(message: Raw) -> str:
    dice = raw(message, "dice")
    text = " ".join(filter(None, (raw_text(dice, "emoji"), raw_text(dice, "value"))))
    return notes.note(notes.DICE, text) if text else ""


def _titled(label: str, kind: str) -> Callable[[Raw], str]:
    def read(message: Raw) -> str:
        titled = raw(message, kind)
        lines = (raw_text(titled, name) for name in ("title", "description"))
        text = ": ".join(filter(None, lines))
        return notes.note(label, text) if text else ""

    return read


def _form(message: Raw) -> str:
    data = raw_text(raw(message, "web_app_data"), "data")
    return notes.note(notes.FORM, data, longest=LONGEST_TEXT // 4) if data else ""


_READERS: Final[Mapping[str, Callable[[Raw], str]]] = {
    "contact": _contact,
    "venue": _venue,
    "location": _location,
    "poll": _poll,
    "checklist": _checklist,
    "dice": _dice,
    "game": _titled(notes.GAME, "game"),
    "invoice": _titled(notes.INVOICE, "invoice"),
    "web_app_data": _form,
}
"""Content that becomes text. A reader returns an empty text if it finds nothing to tell."""
_BESIDE_WORDS: Final = frozenset({"photo", "document", *_UNREADABLE, *_READERS})
