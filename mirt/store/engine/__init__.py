"""How the database and Redis are reached: connections, timeouts, retried commits, migrations."""
