"""HTTP/2 without I/O: the server's side of a connection (RFC 9113, with 7541, 8441 and 9218).

It owns frames, streams, flow control, header compression, priorities, and the limits that keep a client from making more
work than it is worth. The meaning of a request beyond its header block is `appserver.http`'s, which HTTP/1 has in common. It must
not know sockets, event loops, processes or ASGI: octets and the time come in, calls of a `Handler` and octets go out.

Start with `connection`, which stands on three layers, each a class that knows those below it:

| module | owns |
|---|---|
| `connection` | the octets that arrive: preface, frames, DATA; how a connection is drained |
| `blocks` | header blocks: where streams begin, trailers |
| `control` | settings, pings, windows, priorities, resets |
| `outbound` | what is sent: its order, its windows |

Beside them: `frames` knows how frames look, `states` which may arrive when, `compression` HPACK and `huffman` its strings,
`request` what a header block means, `schedule` and `priority` whose turn it is, `floods` how much a client may ask for, `errors` how a stream or a connection
fails. `stream`, `options`, `peer` and `handler` are what their names say.

There is no push: no browser takes it any more. Priorities of RFC 7540 are read and have no effect (RFC 9113 section 5.3.2).
"""
