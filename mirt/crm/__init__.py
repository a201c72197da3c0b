"""Create and read orders in the CRM.

Not here: which orders are created, when, and how often a request is tried.
"""

from mirt.crm.protocol import Crm, CrmOrder

__all__ = ["Crm", "CrmOrder"]
