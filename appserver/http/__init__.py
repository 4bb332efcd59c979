"""HTTP/1.1 without I/O: what a client's octets mean, and how a response is framed.

It owns the syntax and the meaning of requests (RFC 9110, RFC 9112) and the framing of responses. It must not know
sockets, event loops, clocks, processes or ASGI: octets come in, callbacks and octets go out, and whatever a client
does wrong is a `RequestError` that carries the status to answer.

A request goes through four stages, and each is one module:

1. `parser` finds where a head begins and ends and what belongs to its body, and calls the handler. Start reading there.
2. `grammar` says which octets are a head, and takes one apart. `backend_httptools` and `backend_h11` do the same with a
   library; they may decline a head, but what they return has to be what `grammar` returns.
3. `head` decides what a head means: target, Host, framing, persistence, expectations, upgrade.
4. `chunked` decodes a chunked body.

So a library sees heads only, and never decides how long a body is: that is where requests are smuggled, and no two
libraries agree on it. The way back is `response`, and `switching` where HTTP ends.
"""
