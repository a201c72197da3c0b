"""A worker process is killed, or held still, before and after each of its steps.

The steps are the commits, the requests to outside services, the publications and the
acknowledgements of a run. ``points`` listens to them from outside of the product's code, in a real
process on a real PostgreSQL. Another process then does the rest; a process that was held still goes
on after that. ``test_every_point`` names the points of each piece of work and checks the promises
after each. ``docs/guarantees.md`` has the table.
"""
