"""The operator's page: what is going on, what is wrong, and the buttons that mend it.

Everything it shows and does is made in ``service.admin``; here is how it looks, and who may
see it. What may not live here: SQL, rules, a script or a style that stands in a page itself.
"""
