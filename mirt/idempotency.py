"""Derive task ids from events, so that a second copy of an event has the same id as the first.

``message_task_id`` decides which parts make two messages the same; ``webhook_task_id`` hashes them.
"""

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


def message_task_id(
    platform: str, session_id: str, user_id: str | int | None, message_id: str | int | None
) -> str:
    """Return the id of the task that answers a customer's message.

    Messages with the same four arguments are one message. The conversation is one of them, since a
    message id is unique only within a chat.
    """
    return webhook_task_id(platform, message_id, f"{session_id}/{user_id or ''}", "process")
