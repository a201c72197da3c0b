"""Where customers write to us: one file a channel, both directions of it.

A channel maps what its platform sends to an ``InboundMessage`` and sends one part of a reply at a
time. What may not live here: conversations, deliveries, retries, or any rule of the business.
"""

from mirt.channels.protocol import (
    Channel,
    Ignored,
    InboundMessage,
    MarkingChannel,
    Marks,
    Receipt,
    RegisteringChannel,
)

__all__ = [
    "Channel",
    "Ignored",
    "InboundMessage",
    "MarkingChannel",
    "Marks",
    "Receipt",
    "RegisteringChannel",
]
