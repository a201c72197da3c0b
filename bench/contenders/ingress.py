"""The ingress of the contenders: FastAPI under uvicorn; ``CONTENDER`` says which queue it feeds."""

import hmac
import os
from typing import Any

from fastapi import FastAPI, Request, Response

from bench.contenders import job

app = FastAPI()
if os.environ["CONTENDER"] == "celery":
    from bench.contenders.celery_tasks import answer as task

    send = task.delay
else:
    from bench.contenders.dramatiq_tasks import answer as actor

    send = actor.send


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Answer that the process lives."""
    return {"status": "ok"}


@app.post("/webhooks/telegram")
def webhook(update: dict[str, Any], request: Request) -> Response:
    """Queue the message of one update."""
    given = request.headers.get(job.SECRET_HEADER, "")
    if not hmac.compare_digest(given, os.environ["TELEGRAM_WEBHOOK_SECRET"]):
        return Response(status_code=401)
    send(*job.read_update(update))
    return Response('{"status":"accepted"}', media_type="application/json")
