"""The former name of ``service.asgi``, for start commands that say ``service.wsgi:app``."""

from typing import Any

from service import asgi


def __getattr__(name: str) -> Any:
    """Build ``app`` on first access, as ``service.asgi`` does."""
    return getattr(asgi, name)
