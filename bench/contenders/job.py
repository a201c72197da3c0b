"""The job that every contender does: keep the message, ask the LLM, keep the reply, send it."""

import os
import threading
from functools import cache
from typing import Any

import httpx
from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS said (
    id bigserial PRIMARY KEY, chat bigint NOT NULL, role text NOT NULL, text text NOT NULL,
    at timestamptz NOT NULL DEFAULT now())
"""
SECRET_HEADER = "x-telegram-bot-api-secret-token"
_lock = threading.Lock()


@cache
def _pool() -> ConnectionPool:
    return ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=12, open=True)


@cache
def _http() -> httpx.Client:
    return httpx.Client(timeout=30, limits=httpx.Limits(max_connections=128))


def prepare() -> None:
    """Make the table; safe to call by several processes."""
    with _pool().connection() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute(SCHEMA)


def answer(chat: int, text: str) -> None:
    """Answer one message of a chat."""
    with _lock:
        pool, http = _pool(), _http()
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO said (chat, role, text) VALUES (%s, 'user', %s)", (chat, text)
        )
    completion = http.post(
        f"{os.environ['LLM_BASE_URL']}/chat/completions",
        headers={"Authorization": "Bearer llm-key"},
        json={"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 2048},
    )
    completion.raise_for_status()
    reply = completion.json()["choices"][0]["message"]["content"]
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO said (chat, role, text) VALUES (%s, 'assistant', %s)", (chat, reply)
        )
    http.post(
        f"{os.environ['TELEGRAM_API_URL']}/bot1:t/sendMessage",
        json={"chat_id": chat, "text": reply},
    ).raise_for_status()


def read_update(update: dict[str, Any]) -> tuple[int, str]:
    """Return the chat and the text of a Telegram update."""
    message = update["message"]
    return message["chat"]["id"], message["text"]
