"""Kinds of files, for questions to which a place that this process may not look into answers no.

Those of pathlib raise PermissionError there before Python 3.14: a directory of root's that somebody is in who runs the program
as another user, for one.
"""

from __future__ import annotations

import os
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether there is something at this path, as far as this process can see."""
    return os.path.exists(path)  # noqa: PTH110


def is_directory(path: Path) -> bool:
    """Whether it is a directory, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_regular(path: Path) -> bool:
    """Whether it is a regular file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113
