"""How binding a case is, and on which clause it stands.

    @must("RFC 9112 6.3")    a MUST of an RFC, a violation of its grammar, or the contract of ASGI
    @sec("RFC 6585 5")       not literally a MUST, but a known attack, or a way to use up the server
    @should("RFC 9112 9.6")  a SHOULD, or plain good practice

Select with `-m must`; a failed test shows its clause.
"""

from __future__ import annotations

import pytest

LEVELS = ("must", "sec", "should")


def must(clause: str) -> pytest.MarkDecorator:
    """Mark what a server has to do."""
    return pytest.mark.must(clause)


def sec(clause: str) -> pytest.MarkDecorator:
    """Mark what keeps a server safe."""
    return pytest.mark.sec(clause)


def should(clause: str) -> pytest.MarkDecorator:
    """Mark what a good server does."""
    return pytest.mark.should(clause)
