"""Read what a message points at: a reply, a quote, a forward, links behind words."""

from collections.abc import Iterator
from typing import Final

from mirt.channels import notes
from mirt.channels.telegram.content import gist
from mirt.channels.telegram.updates import Raw, has, raw, raw_list, raw_text

_MOST_LINKS: Final = 3
_POINTERS: Final = frozenset(
    (
        "forward_origin",
        "reply_to_message",
        "external_reply",
        "reply_to_story",
        "quote",
        "entities",
        "caption_entities",
    )
)


def points_at(message: Raw) -> str | None:
    """Return a note for each thing that the message points at, one a line; None for none."""
    if message.keys().isdisjoint(_POINTERS):
        return None
    found = (_forwarded(message), _replied_to(message), _links(message))
    return "\n".join(filter(None, found)) or None


def _forwarded(message: Raw) -> str:
    if not has(message, "forward_origin"):
        return ""
    return notes.note(notes.FORWARDED, _author(raw(message, "forward_origin")))


def _author(origin: Raw) -> str:
    """Return the name of the chat or person that wrote a message first; empty if it is hidden."""
    for name in ("chat", "sender_chat"):
        if title := raw_text(raw(origin, name), "title"):
            return notes.quoted(title)
    name = raw_text(origin, "sender_user_name")
    return name or raw_text(raw(origin, "sender_user"), "first_name")


def _replied_to(message: Raw) -> str:
    """Return the note of a reply: the quoted words, or else the whole message."""
    replied, elsewhere = raw(message, "reply_to_message"), raw(message, "external_reply")
    if has(replied, "forum_topic_created"):
        return ""  # every message of a topic is a reply to its creation
    what = notes.quoted(quote) if (quote := raw_text(raw(message, "quote"), "text")) else ""
    if replied:
        return notes.note(_reply_label(message, replied), what or gist(replied), longest=400)
    if elsewhere:
        author = _author(raw(elsewhere, "origin"))
        what = ", ".join(filter(None, (author, what or gist(elsewhere))))
        return notes.note(notes.REPLY, what, longest=400)
    if has(message, "reply_to_story"):
        return notes.note(notes.REPLY, notes.label_of("story"))
    return notes.note(notes.REPLY, what) if what else ""


def _reply_label(message: Raw, replied: Raw) -> str:
    author = raw(replied, "from")
    if author.get("is_bot") is True:
        return notes.REPLY_TO_US
    sender = raw(message, "from").get("id")
    return notes.REPLY_TO_SELF if sender and author.get("id") == sender else notes.REPLY


def _links(message: Raw) -> str:
    """Return the note of the links that stand behind words, as in a forwarded price list."""
    links = list(dict.fromkeys(_urls(message)))[:_MOST_LINKS]
    return notes.note(notes.LINKS, ", ".join(links)) if links else ""


def _urls(message: Raw) -> Iterator[str]:
    for name in ("entities", "caption_entities"):
        for entity in raw_list(message, name):
            url = raw_text(entity, "url")
            if raw_text(entity, "type") == "text_link" and url.startswith(("http://", "https://")):
                yield url
