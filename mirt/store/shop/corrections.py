"""Replace the text of a message that its customer has edited, as long as no turn has taken it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, or_, select, update

from mirt.store.shop import mailbox
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.store.tables import inbox

_CONTENT: Final = ("photo", "unread", "points_at")
"""The keys of metadata that belong to what the customer said."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The message that an edit is about, and whether the edit has changed it."""

    task_id: str
    has_changed: bool


def apply(tx: Connection, mail: Mail) -> Correction | None:
    """Apply an edit to the latest version of its message, and return that version.

    Return None for a message that is no edit, and for an edit that comes too late: a turn has taken
    the message, or it is not known. Such an edit is a message of its own.

    A turn takes its mail under the lock of the conversation, as this does. So the turn answers
    either the new text, or the old one and then the edit.
    """
    edited_id = mail.metadata.get("edit_of")
    if not isinstance(edited_id, str):
        return None
    mailbox.lock_head(tx, mail.session_id)
    known = _latest_version(tx, mail, edited_id)
    if known is None:
        return None
    is_older = _edit_time(mail.metadata) < _edit_time(known.metadata)
    if is_older or known.task_id == mail.task_id or _content(known) == _content(mail):
        return Correction(known.task_id, has_changed=False)
    if known.state is not MailState.WAITING or known.turn_id is not None:
        return None
    tx.execute(
        update(inbox)
        .where(inbox.c.id == known.id)
        .values(text=mail.text, metadata=_edited(known.metadata, mail.metadata))
    )
    return Correction(known.task_id, has_changed=True)


def _latest_version(tx: Connection, mail: Mail, edited_id: str) -> KeptMail | None:
    """Return the message or its latest edit that became a message of its own."""
    task_id = tx.execute(
        select(inbox.c.task_id)
        .where(
            inbox.c.session_id == mail.session_id,
            or_(
                inbox.c.message_id == edited_id,
                inbox.c.message_id.startswith(f"{edited_id}:", autoescape=True),
            ),
        )
        .order_by(inbox.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return None if task_id is None else mailbox.find(tx, task_id)


def _content(mail: Mail) -> tuple[Any, ...]:
    return mail.text, *(mail.metadata.get(key) for key in _CONTENT)


def _edited(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of the edited message: it stays what it was, a first version or not."""
    kept = {key: value for key, value in old.items() if key not in _CONTENT}
    content = {key: new[key] for key in _CONTENT if key in new}
    return {**kept, **content, "edited_at": _edit_time(new)}


def _edit_time(metadata: Mapping[str, Any]) -> int:
    at = metadata.get("edited_at")
    return at if isinstance(at, int) else 0
