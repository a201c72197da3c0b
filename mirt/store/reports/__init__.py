"""Read-only queries for operators, metrics and load shedding."""
