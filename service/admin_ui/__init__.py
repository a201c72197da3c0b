"""Serve the operator's page ``/ops``: the current state, problems, and buttons that act.

``service.admin`` makes everything the page shows and does. This package renders it and controls
access. It holds no SQL and no rules; the templates hold no inline script and no inline style.
"""
