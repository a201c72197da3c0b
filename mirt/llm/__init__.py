"""Ask an agent for answers: a model over the network, or the built-in script.

Not here: where conversations are stored, when a turn runs, and how an answer is used.
"""

from mirt.llm.protocol import PHOTO, Action, Agent, ChatMessage, Completion, Number, Picture, Tool

__all__ = ["PHOTO", "Action", "Agent", "ChatMessage", "Completion", "Number", "Picture", "Tool"]
