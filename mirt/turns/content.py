"""Tell the LLM what customers sent, and the customer what could not be read.

A message has words, or a photo, or content that cannot be read; and it may point at something. The
LLM gets notes for everything beside the words. If it can read nothing, it is not asked: the
customer then gets one honest sentence.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from mirt.channels import notes
from mirt.conversations import is_command
from mirt.llm import PHOTO, ChatMessage, Picture
from mirt.store.shop.mailbox import KeptMail, Mail
from mirt.texts import OUR_TEXTS, Texts


def lines_of(mails: Sequence[KeptMail]) -> list[tuple[str, datetime]]:
    """Return what the customer said in these messages, each line with its time.

    The parts of one album are one line.
    """
    return [(_line(parts), parts[0].received_at) for parts in _in_lines(mails)]


def messages_of(mails: Sequence[KeptMail], pictures: Mapping[str, Picture]) -> list[ChatMessage]:
    """Return what the LLM gets of these messages, with those of the pictures by task id."""
    return [
        ChatMessage("user", _line(parts), [pictures[id_] for id_ in ids if id_ in pictures])
        for parts in _in_lines(mails)
        for ids in [[mail.task_id for mail in parts]]
    ]


def _in_lines(mails: Sequence[KeptMail]) -> Iterator[list[KeptMail]]:
    return (list(group) for _, group in groupby(mails, _album_or_id))


def unreadable_reply(mails: Sequence[Mail], texts: Texts = OUR_TEXTS) -> str | None:
    """Return the reply to messages that have nothing the LLM can read; None if one has."""
    if any(mail.text.strip() or mail.metadata.get("photo") for mail in mails):
        return None
    labels = [label for mail in mails for label in notes.labels_of(mail.metadata)]
    return texts.cannot_read(dict.fromkeys(labels))


def start_payload(mail: Mail) -> str | None:
    """Return the payload of ``/start``, from the link that opened the chat; None if it has none."""
    command, *rest = mail.text.split(maxsplit=1)
    is_start = is_command(mail) and command.partition("@")[0] == "/start"
    return rest[0].strip() if is_start and rest else None


def _album_or_id(mail: KeptMail) -> object:
    return mail.metadata.get("album") or mail.id


def _line(mails: Sequence[KeptMail]) -> str:
    before = dict.fromkeys(line for mail in mails for line in _notes_before(mail))
    photos = [PHOTO for mail in mails if mail.metadata.get("photo")]
    labels = [label for mail in mails for label in notes.labels_of(mail.metadata)]
    unread = [notes.unreadable(labels)] if labels else []
    words = [_words(mail) for mail in mails if mail.text]
    return "\n".join([*before, " ".join([*photos, *unread, *words])])


def _notes_before(mail: Mail) -> Iterator[str]:
    if mail.metadata.get("edit_of"):
        yield notes.note(notes.CORRECTED)
    points_at = mail.metadata.get("points_at")
    if isinstance(points_at, str):
        yield points_at


def _words(mail: Mail) -> str:
    payload = start_payload(mail)
    return mail.text if payload is None else notes.note(notes.OPENED_BY_LINK, payload)
