"""``python -m service.cli``: the same as ``mirt``."""

from service.cli import main

main()
