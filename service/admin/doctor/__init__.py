"""Diagnose whether everything the service needs is there, by asking each dependency at once.

This package holds no presentation, no SQL, no Redis and no AMQP.
"""

from service.admin.doctor.doctor import diagnose
from service.admin.doctor.finding import Finding, Severity

__all__ = ["Finding", "Severity", "diagnose"]
