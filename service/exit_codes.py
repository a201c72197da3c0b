"""Exit codes of every command, for scripts and for service managers such as systemd.

========  ==========================================================================
0         success
1         a check found an error, or the command found nothing or was refused
2         the command line is wrong
69        a server that the command needs cannot be reached (EX_UNAVAILABLE)
78        the configuration or the database schema is wrong (EX_CONFIG)
========  ==========================================================================
"""

from typing import Final

WRONG: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 69
CONFIGURATION: Final = 78
"""A restart does not help: the operator has to change something."""
