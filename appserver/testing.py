"""For tests: a real server, on a port of its own, around an application.

    with appserver.testing.serve(app) as server:
        assert httpx.get(server.url).status_code == 200

Under pytest there is the fixture `appserver`, which serves as many applications as a test asks it to, and stops them at its
end: `server = appserver(app)`.
"""

from __future__ import annotations

from appserver.inprocess.embedding import RunningServer
from appserver.inprocess.embedding import threaded as serve

__all__ = ["RunningServer", "serve"]
