"""Settings for tests, made without looking at the environment."""

from pathlib import Path
from typing import Any

from mirt.settings import Settings
from tests.fakes import FakeServices


def settings_for(services: FakeServices, **values: Any) -> Settings:
    """Settings whose outside world is the fake one, with short pauses."""
    return Settings(
        _env_file=None,
        **{
            "telegram_bot_token": "123456:token",
            "telegram_webhook_secret": "webhook-secret",
            "telegram_api_url": services.telegram_url,
            "llm_api_key": "llm-key",
            "llm_base_url": services.llm_url,
            "retry_base_seconds": 0.1,
            **values,
        },
    )


def sqlite_url(folder: Path) -> str:
    """A SQLite file of the test's own."""
    return f"sqlite:///{folder / 'mirt.db'}"
