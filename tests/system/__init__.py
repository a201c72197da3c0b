"""The real commands as a user runs them. Nothing of the service is imported here."""
