"""Write the notes in square brackets that tell the LLM what came with a customer's words.

A platform sends more than words: contacts, places, replies, files. What can be read becomes a note
in the text. What cannot be read is listed in ``metadata["unread"]`` of the message.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mirt.channels.splitting import well_formed
from mirt.channels.webhook import clipped

LONGEST_QUOTE: Final = 300
"""Characters of the message that a customer points at."""
_LONGEST_DETAIL: Final = 80
_MOST_UNREAD: Final = 10

CONTACT: Final = "контакт"
OWN_CONTACT: Final = "контакт покупця"
PLACE: Final = "місце"
LOCATION: Final = "геолокація"
POLL: Final = "опитування"
CHECKLIST: Final = "список"
DICE: Final = "кубик"
GAME: Final = "гра"
INVOICE: Final = "рахунок"
FORM: Final = "дані форми"
LINKS: Final = "посилання"
FORWARDED: Final = "переслано"
REPLY: Final = "у відповідь на"
REPLY_TO_US: Final = "у відповідь на повідомлення консультанта"
REPLY_TO_SELF: Final = "у відповідь на власне повідомлення"
CORRECTED: Final = "покупець виправив попереднє повідомлення, ось воно тепер"
OPENED_BY_LINK: Final = "покупець відкрив чат за посиланням"
PHOTO: Final = "фото"
UNREADABLE: Final = "надійшло, але відкрити не можна"

_LABELS: Final = {
    "photo": "фото",
    "voice": "голосове повідомлення",
    "audio": "аудіозапис",
    "video": "відео",
    "video_note": "відеоповідомлення",
    "animation": "анімація",
    "sticker": "стікер",
    "document": "файл",
    "story": "історія",
    "post": "допис",
    "paid_media": "платний допис",
    "contact": "контакт",
    "location": "геолокація",
    "poll": "опитування",
    "checklist": "список",
    "game": "гра",
    "invoice": "рахунок",
    "giveaway": "розіграш",
    "passport_data": "документи",
}
_UNKNOWN: Final = "вкладення"


def note(label: str, text: str = "", *, longest: int = LONGEST_QUOTE) -> str:
    """Return one note in one line, its text cut to ``longest`` characters.

    A bracket in the text becomes a parenthesis, so that no text can end its note.
    """
    inner = clipped(well_formed(text), longest).translate(_PARENTHESES)
    return f"[{label}: {inner}]" if inner else f"[{label}]"


def quoted(text: str) -> str:
    """Return a text in quotation marks, in one line, cut to ``LONGEST_QUOTE`` characters."""
    return f"«{clipped(well_formed(text), LONGEST_QUOTE)}»"


def unread(kind: str, detail: object = None) -> dict[str, str]:
    """Return the entry of ``metadata["unread"]`` for content of this kind.

    ``detail`` is the name of a file or the emoji of a sticker; what is no text is left out.
    """
    detail = clipped(detail, _LONGEST_DETAIL) if isinstance(detail, str) else ""
    return {"kind": kind, "detail": well_formed(detail)} if detail else {"kind": kind}


def labels_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return a label for each entry of ``metadata["unread"]``, at most ten.

    Metadata may come from a caller of ours: entries that are malformed are labelled as unknown.
    """
    entries = metadata.get("unread")
    known = entries if isinstance(entries, list) else []
    return [_label(entry) for entry in known[:_MOST_UNREAD]]


def unread_kinds(metadata: Mapping[str, Any]) -> list[str]:
    """Return the kinds of content that ``metadata["unread"]`` lists, each once, at most ten."""
    entries = metadata.get("unread")
    known = entries if isinstance(entries, list) else []
    kinds = [entry.get("kind") for entry in known[:_MOST_UNREAD] if isinstance(entry, dict)]
    return list(dict.fromkeys(kind for kind in kinds if isinstance(kind, str)))


def unreadable(labels: Iterable[str]) -> str:
    """Return the note that names content that cannot be read."""
    return note(UNREADABLE, ", ".join(labels))


def label_of(kind: str) -> str:
    """Return the name of a kind of content for customers and for the LLM."""
    return _LABELS.get(kind, _UNKNOWN)


def _label(entry: object) -> str:
    fields = entry if isinstance(entry, dict) else {}
    label, detail = label_of(str(fields.get("kind"))), fields.get("detail")
    return f"{label} {detail}" if isinstance(detail, str) else label


_PARENTHESES: Final = str.maketrans("[]", "()")
