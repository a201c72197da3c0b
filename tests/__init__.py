"""Every promise of the service, tested against real servers where a server is part of it."""
