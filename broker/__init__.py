"""The transport of work: connections, confirms, acknowledgements, delays.

What may not live here: an actor's arguments, a customer, a decision about a failure.
"""
