"""The outside services of a bench, cheap enough to be no part of the result.

``python -m bench.outside --latency 0.2`` serves an LLM and a Telegram on one port, and prints the
URL. ``GET /_report`` returns what Telegram brought to customers and how often the LLM was asked.
"""

import argparse
import asyncio
import time
from typing import Any

import orjson


class Outside:
    """An OpenAI-compatible LLM that echoes, and a Bot API that records."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.sent: list[tuple[float, str, str]] = []
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                body = await reader.readexactly(_length(head)) if _length(head) else b""
                answer = orjson.dumps(await self._answer(path, body))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    + str(len(answer)).encode()
                    + b"\r\n\r\n"
                    + answer
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, path: str, body: bytes) -> Any:
        if path.endswith("/chat/completions"):
            self.asked += 1
            messages = orjson.loads(body)["messages"]
            await asyncio.sleep(self.latency_s)
            return _completion(_echo(messages))
        if path.endswith("/sendMessage"):
            message = orjson.loads(body)
            chat, text = message["chat_id"], message["text"]
            self.sent.append((time.time(), str(chat), text))
            sent = {"message_id": len(self.sent), "chat": {"id": chat}, "text": text}
            return {"ok": True, "result": sent}
        if path.startswith("/_report"):
            return {"sent": self.sent, "asked": self.asked}
        if path.startswith("/_count"):
            return {"sent": len(self.sent), "tags": sum(t.count("#") for _, _, t in self.sent)}
        return {"ok": True, "result": True}


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return 0 if at < 0 else int(lower[at + 15 : lower.index(b"\r\n", at)])


def _echo(messages: list[dict[str, Any]]) -> str:
    """Repeat the user's messages since the last answer."""
    unanswered: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            unanswered.clear()
        elif message["role"] == "user":
            unanswered.append(message["content"])
    return " ".join(unanswered)


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "model": "bench",
        "choices": [choice | {"finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
    }


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.outside", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of each completion")
    server = await asyncio.start_server(
        Outside(parser.parse_args().latency).serve, "127.0.0.1", 0, limit=2**20, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
