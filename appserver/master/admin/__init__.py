"""How the master is watched and controlled: HTTP on `admin.bind`, and the same with more on the control socket.

It owns the two addresses, the paths below them and who may use which. It must not know how the master does what is asked
of it, and decides nothing: it sees the master as `operations.Watching`, which can only be read, and where commands are
taken as `operations.Operations`, too.

    operations     what can be read of a master, and what can be asked of it
    routes         the paths, and what each answers; page: the one for browsers
    application    the ASGI application over them: methods, errors, permission
    credentials    a listening socket that knows who connects
    listeners      binding the addresses, serving on them, moving them at a reload; start reading here

It is served by the project's own engine, in the master's event loop: it answers while every worker is blocked.
"""

from __future__ import annotations

from appserver.master.admin.listeners import Admin

__all__ = ["Admin"]
