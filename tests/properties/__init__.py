"""Random sequences of steps on PostgreSQL, compared with small models after each step."""
