"""Requests to the services outside: bounded in time, broken off when a service is down, redacted.

``service.py`` and ``pool.py`` are the only files that know the HTTP client. What may not live here:
what any one service means by its answers; its adapter knows that.
"""

from mirt.http.answer import Answer
from mirt.http.service import ExternalService

__all__ = ["Answer", "ExternalService"]
