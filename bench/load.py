"""Webhooks as Telegram sends them: many keep-alive connections, each message timed."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

SECRET = "7c1fe0b2d94a"


@dataclass
class Answers:
    """The answers to webhooks: how many of each status, and their seconds in ascending order."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0
    sent_at: dict[str, float] = field(default_factory=dict)
    """When each message was sent, in seconds since the epoch, by its tag."""

    def percentile_ms(self, percent: float) -> float:
        """Return this percentile of the answer times, in ms."""
        if not self.seconds:
            return 0.0
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    @property
    def per_second(self) -> float:
        """Return the accepted webhooks a second."""
        return self.statuses[200] / self.took_s if self.took_s else 0.0


def update(chat: int, number: int) -> dict[str, Any]:
    """Return a Telegram update whose text is a tag: ``#chat.number``."""
    return {
        "update_id": chat * 10_000 + number,
        "message": {
            "message_id": number,
            "date": 1_790_000_000 + number,
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Оля", "language_code": "uk"},
            "text": f"#{chat}.{number}",
        },
    }


async def _client(port: int, todo: "asyncio.Queue[tuple[int, int]]", answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not todo.empty():
        chat, number = todo.get_nowait()
        await _post(reader, writer, chat, number, answers)
    writer.close()


async def _post(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    chat: int,
    number: int,
    answers: Answers,
) -> None:
    body = orjson.dumps(update(chat, number))
    head = (
        "POST /webhooks/telegram HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.perf_counter()
    answers.sent_at.setdefault(f"#{chat}.{number}", time.time())
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lower = answer.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        await reader.readexactly(int(lower[at + 15 : lower.index(b"\r\n", at)]))
    else:  # chunked
        while (size := int((await reader.readline()).strip() or b"0", 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    answers.seconds.append(time.perf_counter() - began)
    status = int(answer[9:12])
    answers.statuses[status] += 1
    if status == 503:
        await asyncio.sleep(0.5)
        await _post(reader, writer, chat, number, answers)


async def _send(port: int, messages: Sequence[tuple[int, int]], connections: int) -> Answers:
    todo: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    for one in messages:
        todo.put_nowait(one)
    answers = Answers()
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, todo, answers) for _ in range(connections)))
    answers.took_s = time.perf_counter() - began
    return answers


def send_all(port: int, messages: Sequence[tuple[int, int]], *, connections: int) -> Answers:
    """Send these messages (chat, number) in this order over so many connections.

    A 503 is sent again after half a second, as a sender does, and counted.
    """
    return asyncio.run(_send(port, messages, connections))


async def _paced(port: int, messages: Sequence[tuple[int, int]], per_second: float) -> Answers:
    answers = Answers()
    began = time.perf_counter()

    async def one(chat: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _post(reader, writer, chat, number, answers)
        writer.close()

    running = []
    for index, (chat, number) in enumerate(messages):
        await asyncio.sleep(max(0.0, began + index / per_second - time.perf_counter()))
        running.append(asyncio.create_task(one(chat, number)))
    await asyncio.gather(*running)
    answers.took_s = time.perf_counter() - began
    return answers


def send_paced(port: int, messages: Sequence[tuple[int, int]], *, per_second: float) -> Answers:
    """Send these messages evenly, so many a second, each over a connection of its own."""
    return asyncio.run(_paced(port, messages, per_second))
