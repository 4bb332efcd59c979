"""How many connections wait to be accepted, which only the kernel knows."""

from __future__ import annotations

import os
import socket
import struct

# struct tcp_info: of a listening socket, `tcpi_unacked` is the length of its accept queue (net/ipv4/tcp.c).
_UNACKED = struct.Struct("24xI")

# sock_diag(7), unix_diag.h: the constants that the module `socket` has not.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_UDIAG_SHOW_RQLEN = 0x10
_UNIX_DIAG_RQLEN = 4
_LISTEN = 10
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBHIIIII")  # unix_diag_req: family, protocol, pad, states, inode, show, cookie
_ANSWER_SIZE = 16  # unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type


def backlog_length(listener: socket.socket) -> int | None:
    """How many connections wait in the backlog of a listening socket; None where the kernel does not tell."""
    try:
        if listener.family == socket.AF_UNIX:
            return _unix_backlog(os.fstat(listener.fileno()).st_ino)
        (waiting,) = _UNACKED.unpack(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.size))
    except OSError:
        return None
    return int(waiting)


def _unix_backlog(inode: int) -> int | None:
    """Ask for the one socket with this inode; raises OSError where that is not allowed, or not built in."""
    anything = 0xFFFFFFFF  # any cookie
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, 1 << _LISTEN, inode, _UDIAG_SHOW_RQLEN, anything, anything)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, 1, 0, 0)  # 1: NLM_F_REQUEST
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(0.1)  # it answers before `send` returns
        kernel.send(header + request)
        answer = kernel.recv(4096)
    length, kind, *_ = _HEADER.unpack_from(answer)
    position = _HEADER.size + _ANSWER_SIZE
    while kind == _SOCK_DIAG_BY_FAMILY and position + _ATTRIBUTE.size <= length:
        size, name = _ATTRIBUTE.unpack_from(answer, position)
        if name == _UNIX_DIAG_RQLEN:
            return int(struct.unpack_from("=I", answer, position + _ATTRIBUTE.size)[0])
        position += (max(size, _ATTRIBUTE.size) + 3) & ~3
    return None
