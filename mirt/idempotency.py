"""Derive task ids from events, so that a second copy of an event has the same id as the first."""

import hashlib
import uuid


def webhook_task_id(
    source: str, message_id: str | int | None, user_id: str | int | None, action: str
) -> str:
    """Return ``"<source>:<action>:<16 hex>"``, derived from all four arguments.

    A message id is unique within one chat only (Telegram), so ``user_id`` must distinguish the
    chats. Without a ``message_id`` nothing identifies the event, and each call returns a new id.
    """
    if message_id in {None, ""}:
        digest = uuid.uuid4().hex
    else:
        parts = (source, str(message_id), str(user_id), action)
        # Lengths keep ("a", "bc") and ("ab", "c") apart.
        joined = "".join(f"{len(part)}:{part}" for part in parts)
        digest = hashlib.sha256(joined.encode()).hexdigest()
    return f"{source}:{action}:{digest[:16]}"
