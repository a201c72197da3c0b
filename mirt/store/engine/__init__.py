"""Access to the database and Redis: connections, timeouts, retried commits, migrations."""
