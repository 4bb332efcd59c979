"""Imported by the interpreters of the servers that tests start, by its name, because its folder is in their PYTHONPATH.

structlog imports rich and Twisted where they are installed, and the dependencies of the tests bring both along: a quarter of
the processor time that the start of a server takes, and hundreds of servers are started. An installation of the package has
neither.
"""

import sys

for name in ("rich", "twisted"):
    sys.modules[name] = None  # type: ignore[assignment]  # as the import system has it for a module that is not to be found
