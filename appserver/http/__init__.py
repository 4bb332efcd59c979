"""HTTP without I/O: what a request and a response mean, whatever carries them.

It owns what RFC 9110 says and every version of HTTP shares: requests, fields, limits, the rules for responses. It must not
know how a message looks on the wire (`http1`, `http2`), nor sockets, event loops, clocks, processes or ASGI. A mistake of
a client is a `RequestError`, which carries the status to answer; a mistake of an application is a `ResponseError`.

- `request` is a request as the server understood it. Start reading there; the packages for the wire make it.
- `fields` knows the fields that decide something, and what a field's name and value may hold.
- `limits` says how large a head may be.
- `response` holds the rules that a response keeps to, and the fields that the server itself adds.
"""
