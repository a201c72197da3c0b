"""State in Redis that may be lost: rate limits, cooldowns, ids seen lately."""
