"""What the tests of the running program share: start it, look at its processes, put load on it.

`server` starts the real program and reads its log, `load` is a client that counts what went wrong, `processes` reads
/proc, `waiting` waits for a condition with a deadline, `toml` writes settings files, `application` is the ASGI
application that most tests serve. None of it imports appserver: what the tests see is what an operator sees.
"""
