"""Who answers the customer: a model over the network, or the script that is built in.

What may not live here: where conversations are kept, when a turn runs, what is done with an answer.
"""

from mirt.llm.protocol import PHOTO, Action, Agent, ChatMessage, Completion, Tool

__all__ = ["PHOTO", "Action", "Agent", "ChatMessage", "Completion", "Tool"]
