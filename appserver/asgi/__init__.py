"""The contract with the application: finding it, adapting it, starting it and stopping it.

`loader` turns `[app]` of the settings into one callable of ASGI 3.0, whatever the operator's target names: an instance,
a factory, an application of ASGI 2.0, a WSGI application. Most of it is about the case that fails: whoever mistypes a
name or forgets a dependency shall read what is wrong and what to do, and no frame of ours. `lifespan` carries the
application through start-up and shutdown.

Nothing here knows HTTP, sockets, processes or settings other than `[app]`, and nothing logs but through the logger that
it is given. The scope of a request is made in `engine`.

Start reading with `types`, then `loader.load_application`, then `lifespan.Lifespan`.
"""

from __future__ import annotations
