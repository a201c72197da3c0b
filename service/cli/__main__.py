"""``python -m service.cli``: runs ``mirt`` where the script is not on the path."""

from service.cli import main

main()
