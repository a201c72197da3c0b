"""Send requests to outside services: bounded in time, with a circuit breaker, and redacted.

Only ``service.py`` and ``pool.py`` know the HTTP client. Not here: the meaning of an answer, which
the adapter of the service knows.
"""

from mirt.http.answer import Answer
from mirt.http.report import CHECK_S, CheckableService, ServiceReport
from mirt.http.service import ExternalService, Refusal, SettingNames

__all__ = [
    "CHECK_S",
    "Answer",
    "CheckableService",
    "ExternalService",
    "Refusal",
    "ServiceReport",
    "SettingNames",
]
