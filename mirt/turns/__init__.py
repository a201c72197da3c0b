"""Turns: what waits in a mailbox is answered together, once, and the next turn begins."""

from mirt.turns.direct import DirectTurns
from mirt.turns.failed_turns import FailedTurns
from mirt.turns.turn import Turns

__all__ = ["DirectTurns", "FailedTurns", "Turns"]
