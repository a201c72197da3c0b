"""The CRM: where orders live.

What may not live here: which orders are created, when, and how often one tries.
"""

from mirt.crm.protocol import Crm, CrmOrder

__all__ = ["Crm", "CrmOrder"]
