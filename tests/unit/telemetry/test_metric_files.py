"""Reading the files that an application's metrics are in, whatever they hold."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from appserver.telemetry import metric_files
from appserver.telemetry.metric_files import MAX_FILE_SIZE, MetricFile, encode

GIB = 1024**3


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_the_library_has_written_is_read(tmp_path: Path, directory: int) -> None:
    file = MmapedDict(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
    expected = {f"key {'x' * number}": (float(number), number / 2) for number in range(1, 2000)}
    for key, value in expected.items():
        file.write_value(key, *value)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    found = MetricFile("counter_1.db", directory)
    assert dict(found.values()) == expected
    assert found.left_out == 0


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1),
        st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    )
)
def test_what_is_encoded_is_what_the_library_reads(values: dict[str, tuple[float, float]]) -> None:
    memory = os.memfd_create("values")
    try:
        os.write(memory, encode(values))
        read = MmapedDict.read_all_values_from_file(f"/proc/self/fd/{memory}")  # type: ignore[no-untyped-call]
        assert {key: (number, moment) for key, number, moment, _ in read} == values
    finally:
        os.close(memory)


def test_what_does_not_fit_into_a_file_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "MAX_FILE_SIZE", 100)
    assert len(encode({f"key {number}": (1.0, 0.0) for number in range(100)})) <= 100


def test_a_sparse_file_of_2_gib_is_read_to_the_limit_at_most(tmp_path: Path, directory: int) -> None:
    path = tmp_path / "counter_1.db"
    path.write_bytes(struct.pack("i", 2 * GIB - 1))
    os.truncate(path, 2 * GIB)
    found = MetricFile("counter_1.db", directory)
    assert (found.size, found.left_out) == (MAX_FILE_SIZE, 2 * GIB - 1 - MAX_FILE_SIZE)
    with pytest.raises(ValueError, match="a key without a length"):
        list(found.values())


def test_a_file_that_is_too_large_is_cut_behind_a_value(tmp_path: Path, directory: int) -> None:
    content = encode({f"key {number}": (float(number), 0.0) for number in range(100)})
    (tmp_path / "counter_1.db").write_bytes(content)
    found = MetricFile("counter_1.db", directory, limit=500)
    assert [value for _, (value, _) in found.values()] == list(map(float, range(15)))
    assert found.left_out == len(content) - 500


@pytest.mark.parametrize("size", [0, 3, 8])
def test_a_file_whose_writer_was_killed_at_once_has_no_values(tmp_path: Path, directory: int, size: int) -> None:
    (tmp_path / "counter_1.db").write_bytes(struct.pack("ii", 8, 0)[:size])
    assert list(MetricFile("counter_1.db", directory).values()) == []


@given(st.binary(max_size=200), st.integers(-(2**31), 2**31 - 1))
def test_nonsense_is_an_error_or_no_values(tmp_path_factory: pytest.TempPathFactory, rest: bytes, in_use: int) -> None:
    directory = tmp_path_factory.mktemp("nonsense")
    (directory / "file.db").write_bytes(struct.pack("ii", in_use, 0) + rest)
    fd = os.open(directory, os.O_RDONLY)
    try:
        list(MetricFile("file.db", fd).values())
    except ValueError:
        pass
    finally:
        os.close(fd)
