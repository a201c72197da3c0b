"""What can be seen of the service: logs, metrics, traces. What may not live here: a decision."""
