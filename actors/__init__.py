"""Declares every task: each actor is a signature, one call into the business, and a publication.

No actor has a ``try``, an I/O library or a rule. The import of this package declares all actors and
opens no connection; ``dramatiq actors`` finds them here.
"""

import broker.stack  # noqa: F401 - it sets the factory of the registry
from actors import crm, followups, handovers, health, housekeeping, messages, summarization
from broker.task import registry
from mirt.runtime import current_runtime

__all__ = ["crm", "followups", "handovers", "health", "housekeeping", "messages", "summarization"]

registry.set_failure_handlers(lambda: current_runtime().failure_handlers)
registry.set_claim_hooks(lambda: current_runtime().claim_hooks)
registry.complete()
