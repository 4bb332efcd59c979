"""WebSocket without I/O: the handshake, and what is in the octets behind it (RFC 6455, RFC 7692).

It stands on the sans-I/O layer of `websockets`, and is all that knows that library.

- `handshake` decides on the request that asks for a session; `compression` on what it offers in that respect.
- `protocol` turns octets into messages and messages into octets, answers pings, and knows the closing handshake. Start
  reading there.

It must not know sockets, tasks, the time, or how a request was parsed: whoever uses it (the engine's `Session`) hands in
what has arrived and writes what is to be sent.
"""

from __future__ import annotations
