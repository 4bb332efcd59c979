"""What may stand on the page of an application's metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.registry import Collector

from appserver.telemetry import metric_families
from appserver.telemetry.metric_families import Families, Key


class World:
    """Families, and what they have refused."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str]] = []
        self.families = Families(lambda metric, reason: self.refused.append((metric, reason)))

    def add(
        self,
        kind: str,
        family: str,
        sample: str,
        labels: Mapping[str, str] | None = None,
        value: float = 1.0,
        process: str = "1",
    ) -> None:
        self.families.add(kind, process, json.dumps([family, sample, labels or {}, "What it is."]), (value, 1.0))

    @property
    def samples(self) -> list[tuple[str, dict[str, str], float]]:
        return [
            (sample.name, sample.labels, sample.value)
            for metric in self.families.metrics()
            for sample in metric.samples
        ]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("family", "sample"),
    [
        ("appserver_requests", "appserver_requests_total"),
        ("shop", "appserver_requests_total"),
        ("appserver", "appserver_total"),
    ],
)
def test_the_servers_names_are_refused_wherever_they_stand(world: World, family: str, sample: str) -> None:
    world.add("counter", family, sample)
    assert world.samples == []
    assert world.refused == [(family, "names that begin with appserver_ are the server's")]


@pytest.mark.parametrize(
    ("kind", "family", "sample", "labels"),
    [
        ("counter", "shop orders", "shop orders_total", {}),
        ("counter", "shop", "shop_total\nup", {}),
        ("counter", "größe", "größe_total", {}),
        ("counter", "x" * 256, "x" * 256 + "_total", {}),
        ("counter", "shop", "shop", {}),
        ("counter", "shop", "shop_bucket", {}),
        ("counter", "shop", "other_total", {}),
        ("counter", "shop", "shop_total", {"a b": "1"}),
        ("counter", "shop", "shop_total", {"__name__": "up"}),
        ("counter", "shop", "shop_total", {"le": "1"}),
        ("histogram", "shop", "shop_bucket", {"le": "one"}),
        ("histogram", "shop", "shop_bucket", {"le": "nan"}),
        ("histogram", "shop", "shop_sum", {"le": "1"}),
        ("gauge_all", "shop", "shop_total", {}),
    ],
)
def test_what_would_break_the_page_is_refused(
    world: World, kind: str, family: str, sample: str, labels: dict[str, str]
) -> None:
    world.add(kind, family, sample, labels)
    assert world.samples == []
    assert len(world.refused) == 1


def test_a_family_has_one_type_and_no_names_of_another(world: World) -> None:
    world.add("counter", "shop", "shop_total")
    world.add("gauge_sum", "shop", "shop")
    world.add("gauge_sum", "shop_total", "shop_total")
    assert world.samples == [("shop_total", {}, 1.0)]
    assert world.refused == [("shop", "it is a counter as well"), ("shop_total", "it has the names of shop")]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '["a", "a_total", [], ""]', '["a", "a", {"b": 1}, ""]', '"\\ud800"', "[" * 100_000]
)
def test_a_key_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Key.parse(text)
    assert len(str(caught.value)) < 200


def test_a_surrogate_that_no_page_can_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        Key.parse('["a", "a_total", {"b": "\\ud800"}, ""]')


def test_a_kind_that_is_none_is_an_error(world: World) -> None:
    for kind in ("", "gauge", "gauge_none", "info", "counter_x"):
        with pytest.raises(ValueError, match="no kind of metric"):
            world.add(kind, "shop", "shop_total")


def test_labels_in_another_order_are_the_same_sample(world: World) -> None:
    world.families.add("counter", "1", '["a","a_total",{"x":"1","y":"2"},""]', (1.0, 0.0))
    world.families.add("counter", "2", '["a","a_total",{"y":"2", "x":"1"},""]', (2.0, 0.0))
    assert world.samples == [("a_total", {"x": "1", "y": "2"}, 3.0)]


def test_the_process_of_a_gauge_is_the_one_of_its_file(world: World) -> None:
    world.add("gauge_all", "shop", "shop", {"pid": "1"}, 3.0, "12")
    assert world.samples == [("shop", {"pid": "12"}, 3.0)]


def test_buckets_are_cumulative_and_their_last_one_is_the_count(world: World) -> None:
    for process in ("1", "2"):
        for bound, count in (("+Inf", 1), ("1.0", 2), ("10.0", 3)):
            world.add("histogram", "shop", "shop_bucket", {"le": bound}, count, process)
        world.add("histogram", "shop", "shop_sum", {}, 50, process)
        world.add("histogram", "shop", "shop_count", {}, 1000, process)
    assert sorted(world.samples, key=lambda sample: (sample[0], sample[2])) == [
        ("shop_bucket", {"le": "1.0"}, 4),
        ("shop_bucket", {"le": "10.0"}, 10),
        ("shop_bucket", {"le": "+Inf"}, 12),
        ("shop_count", {}, 12),
        ("shop_sum", {}, 100),
    ]


def test_the_page_holds_a_bounded_number_of_samples(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_families, "MAX_SAMPLES", 3)
    for number in range(5):
        world.add("counter", "shop", "shop_total", {"kind": str(number)})
    world.add("counter", "shop", "shop_total", {"kind": "0"})
    assert [value for _, _, value in world.samples] == [2.0, 1.0, 1.0]
    assert len(world.refused) == 2


WORDS = st.sampled_from(
    ["a", "a_total", "b", "b_bucket", "b_count", "appserver_x", "le", "pid", "\n", '"', "a b", "é", ""]
)
KEYS = st.tuples(WORDS, WORDS, st.dictionaries(WORDS, WORDS | st.text(max_size=3), max_size=3), st.text(max_size=5))
KINDS = st.sampled_from(["counter", "histogram", "summary", "gauge_all", "gauge_sum", "gauge_livemax", "gauge_min"])


class Page(Collector):
    """What is written as a page."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


@given(st.lists(st.tuples(KINDS, KEYS, st.floats())))
def test_whatever_an_application_writes_the_page_can_be_read(
    written: list[tuple[str, tuple[str, str, dict[str, str], str], float]],
) -> None:
    world = World()
    for kind, key, value in written:
        try:
            world.families.add(kind, "1", json.dumps(key), (value, 1.0))
        except ValueError:
            continue
    metrics = world.families.metrics()
    registry = CollectorRegistry()
    registry.register(Page(metrics))
    page = generate_latest(registry).decode()
    found = [(sample.name, tuple(sorted(sample.labels.items()))) for metric in parse(page) for sample in metric.samples]
    assert len(found) == len(set(found)) == sum(len(metric.samples) for metric in metrics)
    assert not [name for name, _ in found if name.startswith("appserver_")]
    declared = re.findall("^# TYPE (.*) .*$", page, re.MULTILINE)
    assert len(declared) == len(set(declared))
