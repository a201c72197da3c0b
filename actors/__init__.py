"""The work: each actor is a signature, one call into the business, and what is to be published.

What may not live here: a ``try``, an I/O library, a rule. Importing this package declares every
actor and opens nothing; ``dramatiq actors`` finds them here.
"""

import broker.stack  # noqa: F401 - so that a broker can be made when one is needed
from actors import crm, followups, health, housekeeping, messages, summarization
from broker.task import registry
from mirt.runtime import current_runtime

__all__ = ["crm", "followups", "health", "housekeeping", "messages", "summarization"]

registry.set_failure_handlers(lambda: current_runtime().failure_handlers)
