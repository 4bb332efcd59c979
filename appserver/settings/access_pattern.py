"""The pattern of access lines, in the notation of gunicorn's access_log_format."""

from __future__ import annotations

import re

ATOMS = "hlutrmUqHsBbfaTMDLp"
"""What %(x)s can name: gunicorn's atoms, but for its headers of responses and variables."""

ATOM = rf"%%|%\((?:(?P<atom>[{ATOMS}])|\{{(?P<field>[!#$&'*+.^_`|~0-9A-Za-z-]+)\}}i)\)s"

_NAMES = ("auto", "json", "combined", "console")
_EXPECTED = 'expected "auto", "json", "combined" or "console", or a pattern such as "%(h)s %(r)s %(s)s %(D)s"'


def parse_access_format(value: object) -> str:
    """Return the name of a format, or a pattern that holds nothing unknown; raises ValueError."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(_EXPECTED)
    if value.lower() in _NAMES:
        return value.lower()
    if "%(" not in value:
        raise ValueError(_EXPECTED)
    rest = re.sub(ATOM, "", value)
    if "%" in rest:
        unknown = re.search(r"%(\([^)]*\)\w?)?", rest)
        raise ValueError(
            f"{_EXPECTED}; {unknown[0] if unknown else '%'} is unknown: there are {' '.join(ATOMS)} and {{header}}i"
        )
    return value
