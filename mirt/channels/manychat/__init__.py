"""Receive and send messages of the platforms behind one ManyChat account.

``channel`` talks to the API. ``events`` reads the requests of flows, and ``platforms`` has what
differs between Instagram, Messenger, WhatsApp and Telegram. Sources of all facts:
https://api.manychat.com/swagger and https://manychat.github.io/dynamic_block_docs/channels.
"""

from mirt.channels.manychat.channel import MOST_BUBBLES, ManyChatChannel
from mirt.channels.manychat.platforms import Platform

__all__ = ["MOST_BUBBLES", "ManyChatChannel", "Platform"]
