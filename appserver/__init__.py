"""appserver: a supervised ASGI server for production."""

from __future__ import annotations

__version__ = "0.1.0"
