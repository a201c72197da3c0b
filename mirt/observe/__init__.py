"""Logs, metrics and traces of the service, without secrets. No code here decides anything."""
