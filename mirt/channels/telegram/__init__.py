"""Receive and send messages of Telegram.

``channel`` talks to the Bot API. ``updates`` has the shapes of its JSON, ``audience`` decides
whether a message is meant for this bot, ``content`` reads what the customer sent, and ``context``
what it points at. Source of all facts: https://core.telegram.org/bots/api.
"""

from mirt.channels.telegram.channel import LONGEST_TEXT, TelegramChannel

__all__ = ["LONGEST_TEXT", "TelegramChannel"]
