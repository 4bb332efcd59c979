"""Durations and sizes, in both spellings: as a number, and as people write them.

Durations are seconds (float) and sizes are bytes (int) everywhere behind this module.
"""

from __future__ import annotations

import re
from decimal import Decimal

MAX_DURATION = 366 * 86400.0
"""A year: beyond it a timer is a mistake, and some of the kernel's would overflow."""

MAX_SIZE = 2**50
"""1 PiB: it keeps every sum of sizes within 64 bits."""

# Room for every float written out, and an end: the digits of a number cost time and memory.
_NUMBER = r"\d{1,20}(?:\.\d{1,400})?"
_SECONDS = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
# Every unit at most once, the largest first: "1m30s" is a duration, "30s1m" and "1s1s" are slips.
_DURATION = "".join(rf"(?:(?P<{unit}>{_NUMBER}){unit}(?![a-z]))?" for unit in _SECONDS)

_BYTES = {"b": 1} | {
    f"{prefix}{infix}b": base ** (power + 1)
    for power, prefix in enumerate("kmgt")
    for infix, base in (("", 1000), ("i", 1024))
}
_SIZE = rf"(?P<number>{_NUMBER}) ?(?P<unit>([kmgt]i?)?b)?"

DURATION_PATTERN = "^([0-9.]+|([0-9.]+d)?([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?([0-9.]+ms)?)$"
SIZE_PATTERN = "^[0-9.]+ ?(([kKmMgGtT]i?)?[bB])?$"
"""Patterns by which an editor checks durations and sizes that are text: the outlines of what is read below."""

_DURATION_EXPECTED = 'expected a duration from 0 to 366d: seconds, or text such as "1m30s" (units: d, h, m, s, ms)'
_SIZE_EXPECTED = (
    'expected a size from 0 to 1024TiB: bytes, or text such as "16MiB" (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)'
)


def parse_duration(value: object) -> float:
    """Return the seconds that `value` means: a number, a number as text ("90"), or units ("1m30s").

    Raises ValueError, saying what is expected, for everything else: negative, not finite, more than a year.
    """
    if isinstance(value, str):
        value = _seconds(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value <= MAX_DURATION:
        raise ValueError(_DURATION_EXPECTED)
    return float(value)


def _seconds(text: str) -> Decimal | None:
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return Decimal(text)
    match = re.fullmatch(_DURATION, text, re.ASCII)
    if match is None or not text:
        return None
    return sum((Decimal(number) * _SECONDS[unit] for unit, number in match.groupdict().items() if number), Decimal(0))


def format_duration(seconds: float) -> str:
    """Write a duration as people do ("1m30s"); `parse_duration` gives exactly `seconds` back."""
    # The shortest decimal text of the float, split without a further rounding.
    rest = Decimal(repr(float(seconds)))
    parts = []
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            parts.append(f"{count:f}{unit}")
    if rest or not parts:
        number = f"{rest:f}"
        parts.append(f"{number.rstrip('0').rstrip('.') if '.' in number else number}s")
    return "".join(parts)


def parse_size(value: object) -> int:
    """Return the bytes that `value` means: a whole number, one as text ("1024"), or units ("16MiB", "1.5GB").

    Raises ValueError, saying what is expected, for everything else: negative, parts of a byte, more than a pebibyte.
    """
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value, re.ASCII | re.IGNORECASE)
        count = Decimal(match["number"]) * _BYTES[(match["unit"] or "b").lower()] if match else Decimal(-1)
        value = int(count) if count <= MAX_SIZE and count == count.to_integral_value() else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise ValueError(_SIZE_EXPECTED)
    return value


def format_size(size: int) -> str:
    """Write a size with the largest binary unit that divides it ("16MiB", "1000B")."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}B"
