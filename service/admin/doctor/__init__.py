"""Is everything there that the service needs? Each dependency is really asked, all side by side.

What may not live here: how it is shown, SQL, Redis, AMQP.
"""

from service.admin.doctor.doctor import diagnose
from service.admin.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "diagnose"]
