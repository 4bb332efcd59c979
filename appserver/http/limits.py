"""How large the head of a request may be."""

from __future__ import annotations

from appserver.errors import RequestError


class Limits:
    """How large a head may be: `http.max_target_size` and `http.max_header_size` in octets, `http.max_headers` fields.

    The trailer section of a body is held to the same.
    """

    __slots__ = ("max_header_size", "max_headers", "max_target_size")

    def __init__(
        self, max_target_size: int = 8 * 1024, max_header_size: int = 64 * 1024, max_headers: int = 100
    ) -> None:
        self.max_target_size = max_target_size
        self.max_header_size = max_header_size
        self.max_headers = max_headers

    def target_too_large(self) -> RequestError:
        """The error for a request target beyond its limit (RFC 9110 section 15.5.15)."""
        message = f"the request target is larger than http.max_target_size ({self.max_target_size} octets)"
        return RequestError(414, "target_too_large", message)

    def head_too_large(self) -> RequestError:
        """The error for a head, or a trailer section, beyond its limit (RFC 6585 section 5)."""
        message = f"the header or trailer section is larger than http.max_header_size ({self.max_header_size} octets)"
        return RequestError(431, "head_too_large", message)

    def too_many_fields(self) -> RequestError:
        """The error for too many fields in a header or trailer section (RFC 6585 section 5)."""
        message = f"more header or trailer fields than http.max_headers ({self.max_headers})"
        return RequestError(431, "head_too_large", message)
