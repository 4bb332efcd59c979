"""HTTP/1.1 without I/O: from octets to requests, and how a response is framed (RFC 9112).

It owns the syntax of messages, where each begins and ends, and whether the connection goes on behind it. What a message
means beyond that it leaves to `http`. It must not know sockets, event loops, clocks, processes or ASGI: octets come in,
callbacks and octets go out, and whatever a client does wrong is a `RequestError` that carries the status to answer.

A request goes through four stages, and each is one module:

1. `parser` finds where a head begins and ends and what belongs to its body, and calls the handler. Start reading there.
2. `grammar` says which octets are a head, and takes one apart. `lexer_httptools` and `lexer_h11` do the same with a
   library; they may decline a head, but what they return has to be what `grammar` returns.
3. `head` decides what a head means: target, Host, framing, persistence, expectations, upgrade.
4. `chunked` decodes a chunked body.

So a library sees heads only, and never decides how long a body is: that is where requests are smuggled, and no two
libraries agree on it. The way back is `response`, and `switching` where HTTP ends.
"""
