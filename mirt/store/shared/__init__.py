"""State in Redis that may be lost: rate limits, cooldowns and recently seen ids."""
