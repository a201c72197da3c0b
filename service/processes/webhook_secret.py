"""The webhook secret of an embedded installation, made once and kept beside its database."""

import secrets
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from mirt.observe import secrets as redaction
from mirt.settings import Mode, Settings
from mirt.store.engine.database import sqlalchemy_url
from mirt.store.engine.private_file import make_private, make_private_folder

NAME: Final = "webhook-secret"


def with_webhook_secret(settings: Settings, *, make: bool) -> Settings:
    """Return the settings with a webhook secret if there is a bot; kept in a private file.

    ``make``: create the file if it does not exist.
    """
    has_bot = settings.telegram_bot_token is not None
    is_needed = settings.telegram_webhook_secret is None and has_bot
    if settings.mode is Mode.DISTRIBUTED or not is_needed:
        return settings
    url = sqlalchemy_url(settings.database_url.get_secret_value())
    file = Path(str(url.database or "")).parent / NAME
    if make and not file.exists():
        make_private_folder(file.parent)
        make_private(file)
        file.write_text(secrets.token_urlsafe(32), encoding="ascii")
    kept = file.read_text(encoding="ascii").strip() if file.exists() else ""
    if not kept:
        return settings
    known = settings.model_copy(update={"telegram_webhook_secret": SecretStr(kept)})
    redaction.use(known.secrets)
    return known
