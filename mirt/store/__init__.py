"""The one way to the database: tables, migrations, and one file of queries for each aggregate.

Each function is one decision, named for it, with its invariant in its docstring. What may not live
here: a call to anything but the database and Redis.
"""
