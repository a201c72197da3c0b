"""What operators see and do. The command line and the page show the same, made here.

What may not live here: how it is shown, HTTP, SQL.
"""
