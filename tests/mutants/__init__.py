"""Small bugs that are put into copies of the code, one at a time: a test must fail for each.

The bugs are data (``*.toml`` in this folder), one file for each part of the service. Each has

- ``bug``: what is wrong, as a sentence;
- ``promise``: the promise of ``docs/guarantees.md`` that it breaks, or its place in the design;
- ``file``, ``text``, ``becomes``: the text of the file that is replaced. It is there exactly once;
- ``killed_by``: tests; at least one of them must fail;
- ``own_servers``: true if these tests break servers, and need servers of their own.

``python -m tests.mutants`` runs them all; see ``tests.mutants.__main__``.
"""
