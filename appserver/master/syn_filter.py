"""Turning new clients away from a listening socket, without losing those who are connected to it already.

Shutting a listening TCP socket down resets every connection in its backlog. So before the last worker empties the
backlog, nothing may get into it any more. The kernel has no call for that, but it lets a process filter what a socket
receives (socket(7), SO_ATTACH_FILTER): with the first segment of a handshake dropped, handshakes under way come to
their end, and none begins. A client in that short time sends its segment again after a second, and is refused then.
"""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26  # asm-generic/socket.h

_LOAD_OCTET, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06  # linux/bpf_common.h
_FLAGS = 13  # where they are in a TCP header (RFC 9293 section 3.1)
_SYN, _ACK = 0x02, 0x10

_PROGRAM = b"".join(
    struct.pack("=HBBI", *instruction)  # struct sock_filter: code, jump if true, jump if false, operand
    for instruction in (
        (_LOAD_OCTET, 0, 0, _FLAGS),
        (_AND, 0, 0, _SYN | _ACK),
        (_JUMP_IF_EQUAL, 0, 1, _SYN),
        (_RETURN, 0, 0, 0),  # so much of the segment is kept
        (_RETURN, 0, 0, 0xFFFFFFFF),
    )
)


def drop_handshakes(listening: socket.socket) -> None:
    """Let no further client connect; who is in the backlog, or in the middle of a handshake, can still be accepted.

    Of a unix socket, connecting has no middle: it is refused at once, and accept(2) fails with EINVAL when the backlog
    is empty. Raises OSError where the kernel does not know how.
    """
    if listening.family == socket.AF_UNIX:
        listening.shutdown(socket.SHUT_RD)
        return
    program = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
    header = struct.pack("@HP", len(_PROGRAM) // 8, ctypes.addressof(program))  # struct sock_fprog
    listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
