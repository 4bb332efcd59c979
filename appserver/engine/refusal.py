"""The answers of the engine itself: which limit was passed, and by which setting it can be changed.

`http` refuses malformed requests, in the same form.
"""

from __future__ import annotations

from appserver.engine.service import Service
from appserver.errors import RequestError


def body_too_large(service: Service) -> RequestError:
    """RFC 9110 section 15.5.14."""
    limit = f"the body is larger than http.max_body_size ({service.max_body_size} octets)"
    return RequestError(413, "body_too_large", limit)


def head_late(service: Service) -> RequestError:
    """RFC 9110 section 15.5.9."""
    limit = f"the head was not complete within {service.header_timeout:g} s (http.header_timeout)"
    return RequestError(408, "header_timeout", limit)


def body_late(service: Service) -> RequestError:
    """RFC 9110 section 15.5.9."""
    limit = f"no octet of the body for {service.body_timeout:g} s (http.body_timeout)"
    return RequestError(408, "body_timeout", limit)


def application_late(service: Service) -> RequestError:
    """RFC 9110 section 15.6.5."""
    limit = f"the application took longer than {service.request_timeout:g} s (http.request_timeout)"
    return RequestError(504, "request_timeout", limit)


def application_failed() -> RequestError:
    """RFC 9110 section 15.6.1; the client learns nothing of how."""
    return RequestError(500, "error", "the application failed")


def application_cancelled() -> RequestError:
    """RFC 9110 section 15.6.4."""
    return RequestError(503, "cancelled", "the server is shutting down")
