"""Requests to the services outside: bounded in time, broken off when a service is down, redacted.

``service.py`` is the only file that knows the HTTP client. What may not live here: what any one
service means by its answers; its adapter knows that.
"""

from mirt.http.service import Answer, ExternalService

__all__ = ["Answer", "ExternalService"]
