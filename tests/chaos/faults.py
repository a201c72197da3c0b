"""All kinds of fault, a file for each thing that breaks."""

from tests.chaos import broker_faults, outside_faults, process_faults, store_faults
from tests.chaos.kinds import KINDS

__all__ = ["KINDS", "broker_faults", "outside_faults", "process_faults", "store_faults"]
