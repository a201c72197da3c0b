"""What a process ends with, for scripts and for whoever starts it again.

========  ==========================================================================
0         fine
1         something is wrong, was not found, or was refused
2         the command was used wrongly
69        a server that it needs cannot be reached (EX_UNAVAILABLE)
78        the configuration or the database's schema is wrong (EX_CONFIG)
========  ==========================================================================
"""

from typing import Final

WRONG: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 69
CONFIGURATION: Final = 78
"""Starting again will not help."""
