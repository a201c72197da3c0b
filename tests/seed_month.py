"""Fill a PostgreSQL as after a busy month; the server makes the rows itself, in seconds."""

from typing import Final

import sqlalchemy

TRACEBACK: Final = """Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/dramatiq/worker.py", line 573, in process_message
    res = actor(*message.args, **message.kwargs)
  File "/srv/mirt/actors/messages.py", line 41, in send_response
    return runtime.deliveries.deliver(platform, chat_id, response_text)
"""
FRAME: Final = """  File "/srv/mirt/mirt/channels/telegram.py", line 118, in _call
    answer = self._service.post(f"/bot{self._token}/sendMessage", json=body, within_s=left)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"""
STATEMENTS: Final = (
    # Conversation n wrote n * 25 s ago: the latest are of this minute, the first a month old.
    """
    INSERT INTO conversations
      (session_id, platform, chat_id, user_id, customer_name, last_customer_at, created_at,
       head_task_id)
    SELECT (700000000 + n)::text, CASE n % 5 WHEN 0 THEN 'manychat' ELSE 'telegram' END,
           (700000000 + n)::text, (700000000 + n)::text,
           (ARRAY['Оля','Ірина','Марія','Наталя','Andrii','Bohdan','Сергій','Юлія'])[1 + n % 8]
             || ' ' || (ARRAY['Коваль','Мельник','Шевченко','Bondar','Tkach'])[1 + n % 5]
             || ' ' || n,
           now() - n * interval '25 seconds', now() - interval '40 days',
           CASE WHEN n % 333 = 0 THEN 'telegram:process:' || n END
    FROM generate_series(1, :conversations) n
    """,
    """
    INSERT INTO inbox
      (task_id, session_id, actor, text, platform, chat_id, user_id, message_id, metadata, trace_id,
       state, turn_id, received_at, finished_at)
    SELECT 'telegram:process:' || n || CASE k WHEN 0 THEN '' ELSE '-' || k END,
           (700000000 + n)::text, 'process_and_respond', 'Доброго дня! Чи є сукня ' || n || '?',
           'telegram', (700000000 + n)::text, (700000000 + n)::text, (n * 3 + k)::text, '{}',
           md5('trace' || n || k),
           CASE WHEN n % 333 = 0 AND k = 0 THEN 'waiting' ELSE 'answered' END,
           'telegram:process:' || n || CASE k WHEN 0 THEN '' ELSE '-' || k END,
           now() - n * interval '25 seconds' - k * interval '1 hour',
           CASE WHEN n % 333 = 0 AND k = 0 THEN NULL ELSE
             now() - n * interval '25 seconds' - k * interval '1 hour'
               + (1 + (n % 17) * 0.37) * interval '1 second' END
    FROM generate_series(1, :conversations) n, generate_series(0, 2) k
    """,
    """
    INSERT INTO tasks
      (id, actor, args, kwargs, options, trace_id, session_id, state, due_at, published_at, owner,
       fence, created_at, waits_since, first_started_at, started_at, finished_at)
    SELECT task_id, actor, '[]', jsonb_build_object('session_id', session_id), '{}', trace_id,
           session_id, CASE WHEN state = 'answered' THEN 'done' ELSE 'queued' END,
           CASE WHEN state = 'answered' THEN NULL ELSE now() + interval '1 day' END,
           received_at, NULL, CASE WHEN state = 'answered' THEN 1 ELSE 0 END, received_at,
           received_at,
           CASE WHEN state = 'answered' THEN received_at + interval '0.1 seconds' END,
           CASE WHEN state = 'answered' THEN received_at + interval '0.1 seconds' END, finished_at
    FROM inbox
    """,
    """
    INSERT INTO turns
      (id, session_id, reply, model, prompt_tokens, completion_tokens, actions, answered_at)
    SELECT task_id, session_id, 'Так, є всі розміри.', 'openai/gpt-4o-mini', 812, 64, '[]',
           finished_at - interval '0.3 seconds'
    FROM inbox WHERE state = 'answered'
    """,
    """
    INSERT INTO deliveries
      (id, session_id, platform, chat_id, text, state, parts_sent, unknown, trace_id, created_at,
       finished_at)
    SELECT task_id, session_id, platform, chat_id, 'Так, є всі розміри.', 'sent', 1,
           CASE WHEN id % 5000 = 0 THEN 1 ELSE 0 END, trace_id,
           finished_at - interval '0.3 seconds', finished_at
    FROM inbox WHERE state = 'answered'
    """,
    """
    INSERT INTO orders
      (external_id, task_id, session_id, source, state, unknown, order_data, trace_id, created_at,
       updated_at)
    SELECT 'order-' || id, 'create_crm_order:' || id, session_id, 'telegram', 'created',
           CASE WHEN id % 5000 = 10 THEN 1 ELSE 0 END, '{}', trace_id, finished_at, finished_at
    FROM inbox WHERE state = 'answered' AND id % 10 = 0
    """,
    """
    INSERT INTO dead_letters
      (task_id, queue, actor, args, kwargs, options, error_code, exception, traceback, attempts,
       trace_id, session_id, sent_at, died_at)
    SELECT 'send_response:' || n, (ARRAY['webhooks','llm','crm'])[1 + n % 3],
           (ARRAY['send_response','process_and_respond','create_crm_order'])[1 + n % 3], '[]',
           jsonb_build_object('session_id', (700000000 + n * 7)::text, 'platform', 'telegram',
             'chat_id', (700000000 + n * 7)::text, 'response_text', repeat('Так, є. ', 20)),
           '{}',
           (ARRAY['CHANNEL_REFUSED','RETRIES_EXHAUSTED','CRM_REJECTED','TIME_LIMIT'])[1 + n % 4],
           'Telegram: 403 Forbidden: bot was blocked by the user (chat ' || n || ')',
           :head || repeat(:frame || n, 12) || 'PermanentError: Forbidden', 1 + n % 5,
           md5('dead' || n), (700000000 + n * 7)::text,
           now() - n * interval '9 minutes' - interval '20 seconds',
           now() - n * interval '9 minutes'
    FROM generate_series(1, :dead_letters) n
    """,
    """
    INSERT INTO task_events (task_id, kind, attempt, code, why, at)
    SELECT task_id, 'died', attempts - 1, error_code, exception, died_at FROM dead_letters
    """,
    "INSERT INTO ticks (task, last_at) SELECT 'sweep_mailboxes', date_trunc('minute', now())",
    """
    INSERT INTO workers
      (id, host, pid, queues, threads, finished, memory_mb, stopping, started_at, seen_at)
    SELECT 'worker-' || n, 'box' || n % 3, 4000 + n, '["llm", "webhooks"]', 16, 800 * n, 90 + n,
           false, now() - n * interval '1 hour', now() + interval '1 hour'
    FROM generate_series(1, 6) n
    """,
)


def seed_month(url: str, *, conversations: int, dead_letters: int) -> None:
    """Fill a migrated database, and analyse it; each conversation has three answered messages."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    values = {
        "conversations": conversations,
        "dead_letters": dead_letters,
        "head": TRACEBACK,
        "frame": FRAME,
    }
    try:
        with engine.begin() as connection:
            for statement in STATEMENTS:
                asked = sqlalchemy.text(statement)
                connection.execute(asked, {k: v for k, v in values.items() if f":{k}" in statement})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sqlalchemy.text("VACUUM ANALYZE"))
    finally:
        engine.dispose()
