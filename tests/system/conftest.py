"""One variant of each test is enough for a run; the others are `long`, and each version of Python has another one."""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict

import pytest


@pytest.hookimpl(tryfirst=True)  # before those with the mark are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all parametrized variants of a test here but one as `long`: most of them start a server each.

    Which one stays is the same in every process and every run of one Python, and another one elsewhere.
    """
    variants: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.nodeid.startswith("tests/system/") and item.get_closest_marker("long") is None:
            variants[item.nodeid.partition("[")[0]].append(item)
    for name, group in variants.items():
        group.sort(key=lambda item: item.nodeid)
        kept = (zlib.crc32(name.encode()) + sys.version_info.minor) % len(group)
        for item in group[:kept] + group[kept + 1 :]:
            item.add_marker(pytest.mark.long)
