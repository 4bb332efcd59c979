"""Files that the server opens with more privileges than those who can write beside them.

A master that is root opens logs, a pid file and unix sockets in directories that may belong to the user that the workers
run as, or to anybody. A user who can write to such a directory can put a symbolic link, a hard link or another file in the
place of the expected one, at any moment. So everything here goes by descriptors instead of paths: a path is walked once,
the directory is held open, the file is opened in it without following links, and what is changed (owner, mode) is what
has been opened and looked at.

Owns the walk, the rules of what is refused, and every change of an owner or a mode. Must not know what the files are for.

- `directory` walks a path, and says who else can change what is in a directory. Start reading there.
- `regular` opens files for appending, replaces and reads small ones.
- `sockets` binds unix sockets, and changes and removes their files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appserver.late import late

if TYPE_CHECKING:
    from appserver.files.directory import Directory, Place, UnsafeFileError, find, outsider, user_name
    from appserver.files.regular import (
        make_directory,
        open_existing,
        open_to_append,
        read,
        read_input,
        read_small,
        remove,
        replace,
    )
    from appserver.files.sockets import Access, FileIdentity, bind_socket, change_socket, identify, remove_socket
else:
    __getattr__ = late(
        __name__,
        {
            "directory": ("Directory", "Place", "UnsafeFileError", "find", "outsider", "user_name"),
            "regular": (
                "make_directory", "open_existing", "open_to_append", "read", "read_input", "read_small", "remove", "replace",
            ),
            "sockets": ("Access", "FileIdentity", "bind_socket", "change_socket", "identify", "remove_socket"),
        },
    )  # fmt: skip

__all__ = [
    "Access", "Directory", "FileIdentity", "Place", "UnsafeFileError", "bind_socket", "change_socket", "find", "identify", "make_directory",
    "open_existing", "open_to_append", "outsider", "read", "read_input", "read_small", "remove", "remove_socket", "replace", "user_name",
]  # fmt: skip
