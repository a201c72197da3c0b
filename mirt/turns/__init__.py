"""Answer the waiting mail of a conversation together, once, and begin the next turn."""

from mirt.turns.direct import DirectTurns
from mirt.turns.failed_turns import FailedTurns
from mirt.turns.handovers import Handovers
from mirt.turns.turn import Turns

__all__ = ["DirectTurns", "FailedTurns", "Handovers", "Turns"]
