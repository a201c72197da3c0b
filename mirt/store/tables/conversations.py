"""The tables of conversations: mailbox, turns, history and follow-ups."""

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from mirt.store.tables.columns import Json, Serial, UtcDateTime, metadata

conversations = Table(
    "conversations",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("platform", String, nullable=False),
    Column("chat_id", String),
    Column("user_id", String),
    Column("customer_name", String),
    # The head: the only task of the conversation that is published. Null if no mail waits.
    Column("head_task_id", String),
    Column("summary", Text),
    Column("summarised_at", UtcDateTime),
    # Messages of the history up to this id are from before the customer began afresh.
    Column("restarted_after", Serial, nullable=False, server_default="0"),
    Column("last_customer_at", UtcDateTime, nullable=False),
    # Follow-ups taken since the customer's last message. The customer's next message sets it to 0.
    Column("followups_taken", Integer, nullable=False, server_default="0"),
    # Whether the customer has asked for no follow-ups. It stays until they ask for them again.
    Column("followups_off", Boolean, nullable=False, server_default=false()),
    # Whether the history since the last summary waits for one. The customer's next message sets it.
    Column("summary_awaited", Boolean, nullable=False, server_default=false()),
    Column("order_status", String),
    # Since when the customer takes no messages from us. Their next message sets it to null.
    Column("unreachable_since", UtcDateTime),
    # Set unless the bot answers the conversation (mirt.store.shop.handovers).
    Column("handover_state", String),
    Column("handover_by", String),
    Column("handover_reason", Text),
    Column("handover_since", UtcDateTime),
    # When it goes back to the bot if no person does anything.
    Column("handover_until", UtcDateTime),
    # The turn in which the agent asked for a person. Its reply may still be sent.
    Column("handover_turn", String),
    # The stored answer to the mail that waits; a takeover kept it from the customer.
    Column("withheld_turn", String),
    # Whether replies of a person wait behind the head.
    Column("replies_waiting", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("conversations_silent", conversations.c.followups_taken, conversations.c.last_customer_at)
Index(
    "conversations_unsummarised",
    conversations.c.last_customer_at,
    postgresql_where=conversations.c.summary_awaited,
    sqlite_where=conversations.c.summary_awaited,
)

Index("conversations_latest", conversations.c.last_customer_at, conversations.c.session_id)
Index(
    "conversations_waiting",
    conversations.c.last_customer_at,
    postgresql_where=conversations.c.head_task_id.is_not(None),
    sqlite_where=conversations.c.head_task_id.is_not(None),
)
Index(
    "conversations_handed_over",
    conversations.c.handover_since,
    postgresql_where=conversations.c.handover_state.is_not(None),
    sqlite_where=conversations.c.handover_state.is_not(None),
)
Index(
    "conversations_unreachable",
    conversations.c.unreachable_since,
    postgresql_where=conversations.c.unreachable_since.is_not(None),
    sqlite_where=conversations.c.unreachable_since.is_not(None),
)
Index(
    "conversations_restarted",
    conversations.c.session_id,
    postgresql_where=conversations.c.restarted_after > 0,
    sqlite_where=conversations.c.restarted_after > 0,
)
for _searched in ("session_id", "user_id", "customer_name"):
    # A search by prefix uses byte order, whatever the collation of the database is.
    Index(
        f"conversations_by_{_searched}",
        conversations.c[_searched],
        postgresql_ops={_searched: "text_pattern_ops"},
    )

inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("task_id", String, nullable=False, unique=True),
    Column("session_id", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("platform", String, nullable=False),
    Column("chat_id", String),
    Column("user_id", String),
    Column("message_id", String),
    Column("metadata", Json, nullable=False),
    Column("trace_id", String, nullable=False),
    # W3C headers of the span context in which the message was accepted.
    Column("trace_context", Json, nullable=False, server_default="{}"),
    Column("state", String, nullable=False),
    # The turn that has taken the message: the task id of its head.
    Column("turn_id", String),
    Column("received_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
Index("inbox_waiting", inbox.c.session_id, inbox.c.id, postgresql_where=inbox.c.state == "waiting")
Index("inbox_session", inbox.c.session_id, inbox.c.received_at)
Index("inbox_turn", inbox.c.turn_id)
Index("inbox_trace", inbox.c.trace_id)
Index("inbox_message", inbox.c.message_id)
Index("inbox_finished", inbox.c.finished_at)

turns = Table(
    "turns",
    metadata,
    # A row means that the LLM has answered. It is not asked again for this turn.
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("reply", Text, nullable=False),
    Column("model", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    # The actions that the agent asked for, each with its task or the reason why there is none.
    Column("actions", Json, nullable=False, server_default="[]"),
    # The tasks of a withheld answer. They are sent if the answer is sent after all.
    Column("withheld_tasks", Json),
    Column("answered_at", UtcDateTime, nullable=False),
)
Index("turns_session", turns.c.session_id, turns.c.answered_at)
Index("turns_answered", turns.c.answered_at)

history = Table(
    "history",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("role", String, nullable=False),
    Column("content", Text, nullable=False),
    # The name of the person who wrote this line instead of the bot.
    Column("said_by", String),
    # The turn, follow-up or reply of a person that the line belongs to.
    Column("turn_id", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("history_session", history.c.session_id, history.c.id)

handover_events = Table(
    "handover_events",
    metadata,
    # The moves of a conversation between the bot and people. Its row has only the present state.
    Column("id", Serial, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("act", String, nullable=False),
    Column("operator", String),
    Column("reason", Text),
    Column("at", UtcDateTime, nullable=False),
)
Index("handover_events_session", handover_events.c.session_id, handover_events.c.at)
Index("handover_events_at", handover_events.c.at)

followups = Table(
    "followups",
    metadata,
    Column("task_id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    # The time of the customer's message with which the silence began.
    Column("since", UtcDateTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    # Whether a program or an operator asked for it now, instead of its time having come.
    Column("asked", Boolean, nullable=False, server_default=false()),
    # No follow-up is sent twice in one silence.
    UniqueConstraint("session_id", "since", "number", name="followups_once"),
)
Index("followups_session", followups.c.session_id, followups.c.taken_at)
Index("followups_taken", followups.c.taken_at)
