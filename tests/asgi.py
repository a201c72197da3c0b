"""Requests to an ASGI application as a server makes them, with a body that comes in pieces."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any


def post_pieces(
    app: Any,
    path: str,
    pieces: Iterable[bytes],
    *,
    headers: Mapping[str, str],
    stalls: bool = False,
) -> tuple[int, Any, int]:
    """Post a body piece by piece; an empty piece breaks it off, and ``stalls`` never ends it.

    Returns the status, the JSON of the answer and the number of pieces that were taken.
    """
    coming, taken, sent = iter(pieces), 0, []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        piece = next(coming, None)
        if piece is None and stalls:
            await asyncio.Event().wait()
        if piece is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        taken += 1
        if piece == b"":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(event.get("body", b"") for event in sent)
    return sent[0]["status"], json.loads(body), taken
