"""Write docs/configuration.md and docs/shop/prompt.txt: ``python docs/configuration.py``."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mirt.llm import prompts
from mirt.settings import OLD_NAMES, Settings

HEAD = """\
# Configuration

Generated from `mirt/settings.py` by `python docs/configuration.py`.

The configuration is read once from the environment, and from `.env` for variables that the
environment does not set. Wrong or missing values stop the start with one line for each, naming the
variable. No value is ever printed. The old names still work and are reported at the start.

In the passwords of `RABBITMQ_URL`, `REDIS_URL` and `DATABASE_URL`, percent-encode the characters
`: / ? # [ ] @` (`p@ss` as `p%40ss`). A URL that could be read in two ways is refused.
Options after `?` are those of the driver: of libpq for PostgreSQL, of redis-py, and of pika. Any
other stops the start and is named. Behind a pooler like PgBouncer in transaction mode, as Supabase
and others offer, take the URL without the options of other drivers (`pgbouncer=true`,
`connection_limit=1`): the service knows by itself where it may prepare statements.

The settings decide the mode:

- **embedded**, without `RABBITMQ_URL`: `mirt up` runs everything in one process. Without a bot
  token or API key, replies are shown instead of sent. Without an LLM key a scripted agent answers.
  It listens on loopback only, and refuses requests of other sites' pages and of other machines. A
  webhook without a secret is accepted from this machine alone; a bot without
  `TELEGRAM_WEBHOOK_SECRET` gets one, which `mirt telegram set-webhook` registers and
  `var/webhook-secret` keeps.
- **distributed**, with `RABBITMQ_URL`: the processes of the `Procfile`. `REDIS_URL`,
  `DATABASE_URL`, `TELEGRAM_BOT_TOKEN`, `TELEGRAM_WEBHOOK_SECRET` and `LLM_API_KEY` are required.
- `TASKS_ENABLED=false`: `dispatch_message` runs the turn in the caller and returns its answer.
- `TASKS_EAGER=true`: `send()` runs the actor at once, with all middleware; for tests.

The texts of the shop are in two files, which are read and checked once, at the start of a process:
`PROMPT_FILE` instructs the LLM, `TEXTS_FILE` has what the service itself says. Copy
`docs/shop/prompt.txt` and `docs/shop/texts.toml`, which hold MIRT's own texts, and change them.

| variable | default | meaning | old name |
|---|---|---|---|
"""

TAIL = """
`mirt web` reads `PORT`, `WEB_HOST` and `WEB_CONCURRENCY` (default 2), docker compose
the variables at the head of `.env.example`. The standard `OTEL_*` variables configure traces
([operations](operations.md#traces)). Tests start
servers of their own unless `TEST_RABBITMQ_URL`, `TEST_REDIS_URL`, `TEST_DATABASE_URL` and
`TEST_RABBITMQ_MANAGEMENT_URL` (default: the same host, port 15672) name others.
"""


def page() -> str:
    """Return the text of the page."""
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
    here = Path(__file__).parent
    (here / "configuration.md").write_text(page(), encoding="utf-8")
    (here / "shop/prompt.txt").write_text(f"{prompts.ANSWER}\n", encoding="utf-8")
