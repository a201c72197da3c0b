"""The rows of the business: mailbox, turns, deliveries, follow-ups, summaries and orders."""
