"""Writes docs/configuration.md from the settings object: ``python docs/configuration.py``."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mirt.settings import OLD_NAMES, Settings

HEAD = """\
# Configuration

Made from `mirt/settings.py` by `python docs/configuration.py`.

Everything is read once from the environment, and from `.env` for what the environment does not set.
A wrong or missing value stops the start with a line for each, naming the variable; no value is ever
printed. The old names still work and are reported at the start.

In the password of `RABBITMQ_URL`, `REDIS_URL` and `DATABASE_URL` the characters `: / ? # [ ] @` are
written percent-encoded (`p@ss` as `p%40ss`); a URL that could be read in two ways is refused.

Which mode it is follows from what is set:

- **embedded**, without `RABBITMQ_URL`: `mirt up` runs everything in one process. Without a token
  replies are shown instead of sent, without an LLM key a scripted agent answers, without a webhook
  secret updates are accepted; it listens on loopback only.
- **distributed**, with it: the processes of the `Procfile`. `REDIS_URL`, `DATABASE_URL`,
  `TELEGRAM_BOT_TOKEN`, `TELEGRAM_WEBHOOK_SECRET` and `LLM_API_KEY` must be set too.
- `TASKS_ENABLED=false`: `dispatch_message` runs the same code in the caller and returns the answer.
- `TASKS_EAGER=true`: `send()` runs the actor at once, with the whole middleware; for tests.

| variable | default | meaning | old name |
|---|---|---|---|
"""

TAIL = """
`PORT` and `WEB_CONCURRENCY` (2) are read by `mirt web`, `GRAFANA_PASSWORD` by docker compose.
Traces are configured by the standard `OTEL_*` variables ([operations](operations.md#traces)). Tests
take `TEST_RABBITMQ_URL`, `TEST_REDIS_URL`, `TEST_DATABASE_URL` and `TEST_RABBITMQ_MANAGEMENT_URL`
(default: the same host, port 15672) if they are not to start servers of their own.
"""


def page() -> str:
    """The whole page."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return HEAD + "\n".join(rows) + "\n" + TAIL


def _row(name: str, field: FieldInfo) -> str:
    variable = name.upper()
    old = next((was for was, now in OLD_NAMES.items() if now == variable), None)
    was = f"`{old}`" if old else ""
    return f"| `{variable}` | {_default(field.default)} | {field.description} | {was} |"


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "–"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"`{value}`"


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(page(), encoding="utf-8")
