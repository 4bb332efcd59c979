"""Questions about paths that always have an answer.

Where this process may not look, in a directory of root's that somebody is in who runs the program as another user, say, the
answer is no; the methods of pathlib raise PermissionError there before Python 3.14.
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


def destination(path: Path) -> Path:
    """Where the symbolic links of a path lead to; the path itself where somebody replaces them at this moment."""
    try:
        return Path(os.path.realpath(path))
    except OSError:
        return path
