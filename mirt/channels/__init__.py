"""Talk to customers on their platforms: one package for each channel, with both directions.

A channel maps the webhook of its platform to an ``InboundMessage`` and sends one part of a reply at
a time. Not here: conversations, deliveries, retries, or any rule of the business.
"""

from mirt.channels.protocol import (
    CHANNELS,
    Channel,
    Ignored,
    InboundMessage,
    MarkingChannel,
    Marks,
    PollableChannel,
    PolledUpdate,
    ReachabilityChange,
    Receipt,
    RegisteringChannel,
    WebhookReport,
)

__all__ = [
    "CHANNELS",
    "Channel",
    "Ignored",
    "InboundMessage",
    "MarkingChannel",
    "Marks",
    "PollableChannel",
    "PolledUpdate",
    "ReachabilityChange",
    "Receipt",
    "RegisteringChannel",
    "WebhookReport",
]
