"""Turns: what waits in a mailbox is answered together, once, and the next turn begins."""

from mirt.turns.direct import DirectTurns
from mirt.turns.turn import SPEAKING, Outcome, Turns

__all__ = ["SPEAKING", "DirectTurns", "Outcome", "Turns"]
