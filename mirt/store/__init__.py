"""Read and write the database and Redis: tables, migrations, and a file of queries per aggregate.

No other package does. Each function is one decision, and its docstring states the invariant.
Nothing here calls anything but the database and Redis.
"""
