"""Control who may see the page and act on it: access, sessions, roles."""
