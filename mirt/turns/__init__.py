"""Turns: what waits in a mailbox is answered together, once, and the next turn begins."""

from mirt.turns.direct import DirectTurns
from mirt.turns.failed_turns import SPEAKING, Endings
from mirt.turns.turn import Outcome, Turns

__all__ = ["SPEAKING", "DirectTurns", "Endings", "Outcome", "Turns"]
