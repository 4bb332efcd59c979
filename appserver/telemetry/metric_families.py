"""The values of all processes of an application, put together to metric families; pure.

The contents of an application's files are its own affair until they stand on the server's page. There it must neither
use the server's names, nor break the exposition format, by which all metrics would be lost: names and labels are those
that Prometheus has always understood, a sample belongs to its family, and no name stands there twice.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from appserver.telemetry.metric_files import Value

PREFIX = "appserver_"
"""Names that begin like this are the server's own."""

MAX_SAMPLES = 50_000
"""The number of the application's samples that the page may hold."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,254}")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,254}")

# The samples of a family, by its type (https://prometheus.io/docs/instrumenting/exposition_formats/).
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "summary": ("_count", "_sum", "_created"),
}


def _add(kept: Value, other: Value) -> Value:
    return kept[0] + other[0], 0.0


def _newest(kept: Value, other: Value) -> Value:
    return max(kept, other, key=lambda value: value[1])


Merge = Callable[[Value, Value], Value]

MERGE: dict[str, Merge] = {
    "counter": _add,
    "histogram": _add,
    "summary": _add,
    "gauge_sum": _add,
    "gauge_min": min,
    "gauge_max": max,
    "gauge_mostrecent": _newest,
}
"""How the values of several processes become one, by what the name of their file begins with. These outlive a process."""

_MERGE_LIVING: dict[str, Merge] = {
    "gauge_livesum": _add,
    "gauge_livemin": min,
    "gauge_livemax": max,
    "gauge_livemostrecent": _newest,
}
_SINGLE = {"gauge_all", "gauge_liveall"}  # one sample for each process

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """The identity of a sample: its family, name and labels."""

    family: str
    sample: str
    labels: Labels
    documentation: str

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read one. Raises ValueError for text that names no sample."""
        try:
            family, sample, labels, documentation = json.loads(text)
            key = cls(family, sample, tuple(sorted(labels.items())), documentation)
            words = (family, sample, documentation, *(word for label in key.labels for word in label))
            if not all(isinstance(word, str) for word in words):
                raise TypeError
            "".join(words).encode()  # a lone surrogate cannot be written on any page
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"a key that names no metric: {text[:80]!r}") from error
        return key

    def objection(self, kind: str) -> str | None:
        """Why such a sample must not stand on the page; None if it may. `kind` as for `Families.add`."""
        kind = kind.partition("_")[0]
        if self.family.startswith(PREFIX) or self.sample.startswith(PREFIX):
            return "names that begin with appserver_ are the server's"
        if not (_NAME.fullmatch(self.family) and _NAME.fullmatch(self.sample)):
            return "it is no name of a metric"
        if not all(_LABEL.fullmatch(name) for name, _ in self.labels):
            return "one of its labels has no name of a label"
        if self.sample.removeprefix(self.family) not in _SUFFIXES[kind] or not self.sample.startswith(self.family):
            return f"no sample of a {kind} is called {self.sample[:80]}"
        if "le" in dict(self.labels) and not self._is_bucket(kind):
            return "the label le is for the buckets of a histogram"
        return None

    def _is_bucket(self, kind: str) -> bool:
        return kind == "histogram" and self.sample == f"{self.family}_bucket" and _bound(self.labels) is not None


class Families:
    """Put together by `add`, one file after the other; then `metrics` are what stands on the page."""

    def __init__(self, refuse: Callable[[str, str], None]) -> None:
        """`refuse` is told of each metric that is left out, and why; of the same one again and again."""
        self._refuse = refuse
        self._kinds: dict[str, str] = {}  # of each family
        self._owners: dict[str, str] = {}  # the family that uses a name on the page
        self._documentation: dict[str, str] = {}
        self._values: dict[tuple[str, str, Labels], Value] = {}
        self._keys: dict[str, Key] = {}

    def add(self, kind: str, process: str, text: str, value: Value) -> None:
        """Add one value of a process. Raises ValueError for a key or a kind that has no meaning."""
        merge = MERGE.get(kind) or _MERGE_LIVING.get(kind)
        if merge is None and kind not in _SINGLE:
            raise ValueError(f"no kind of metric: {kind[:80]!r}")
        key = self._keys.get(text) or self._keys.setdefault(text, Key.parse(text))
        objection = key.objection(kind) or self._claim(key.family, kind)
        if objection is not None:
            self._refuse(key.family[:80], objection)
            return
        labels = key.labels if merge else (*(label for label in key.labels if label[0] != "pid"), ("pid", process))
        place = key.family, key.sample, labels
        if place in self._values:
            self._values[place] = merge(self._values[place], value) if merge else value
        elif len(self._values) < MAX_SAMPLES:
            self._values[place] = value
            self._documentation.setdefault(key.family, key.documentation)
        else:
            self._refuse(key.family[:80], f"the page holds {MAX_SAMPLES} samples of the application's already")

    def _claim(self, family: str, kind: str) -> str | None:
        """Take all names that a family may use; why that is not possible, if it is not."""
        if self._kinds.get(family) == kind:
            return None
        if family in self._kinds:
            return f"it is a {self._kinds[family]} as well"
        names = {family, *(family + suffix for suffix in _SUFFIXES[kind.partition("_")[0]])}
        if taken := next((self._owners[name] for name in names if name in self._owners), None):
            return f"it has the names of {taken[:80]}"
        self._kinds[family] = kind
        self._owners.update(dict.fromkeys(names, family))
        return None

    def metrics(self) -> list[Metric]:
        """The families, histograms with cumulative buckets."""
        made: dict[str, Metric] = {}
        buckets: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
        for (family, sample, labels), (number, _) in self._values.items():
            kind = self._kinds[family].partition("_")[0]
            if family not in made:
                made[family] = Metric(family, self._documentation[family], kind)
            bound = _bound(labels) if kind == "histogram" else None
            if bound is not None:
                without = tuple(label for label in labels if label[0] != "le")
                buckets.setdefault((family, without), []).append((bound, number))
            elif not (kind == "histogram" and sample.endswith("_count")):  # which is that of the last bucket
                made[family].add_sample(sample, dict(labels), number)
        for (family, labels), counts in buckets.items():
            total = 0.0
            for bound, count in sorted(counts):
                total += count
                made[family].add_sample(f"{family}_bucket", {**dict(labels), "le": _bound_name(bound)}, total)
            made[family].add_sample(f"{family}_count", dict(labels), total)
        return list(made.values())


def _bound_name(bound: float) -> str:
    name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return name


def _bound(labels: Labels) -> float | None:
    """The upper bound of a bucket; None if the labels have no sound one."""
    try:
        bound = float(dict(labels)["le"])
    except (KeyError, ValueError):
        return None
    return None if math.isnan(bound) else bound
