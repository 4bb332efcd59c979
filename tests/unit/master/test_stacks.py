"""What a worker reports in a file, which may be anything."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from appserver.master.stacks import MAX_STACKS_SIZE, StacksFile, read_report, report_file

GIB = 1024**3


@pytest.fixture
def stacks() -> Iterator[StacksFile]:
    file = StacksFile.create()
    yield file
    file.close()


@pytest.fixture
def report() -> Iterator[int]:
    fd = report_file("report")
    yield fd
    os.close(fd)


def test_each_part_is_read_once(stacks: StacksFile) -> None:
    os.write(stacks.fd, b"first\n")
    assert stacks.read_new() == "first"
    os.write(stacks.fd, b"second\n")
    assert stacks.read_new() == "second"
    assert stacks.read_new() == ""


def test_of_what_is_too_much_the_end_is_read_and_the_rest_is_said(stacks: StacksFile) -> None:
    os.write(stacks.fd, b"x" * MAX_STACKS_SIZE + b"the end")
    text = stacks.read_new()
    assert text.startswith("(the first 7 bytes are left out)\nxxx")
    assert text.endswith("the end")


def test_a_sparse_file_of_1_gib_is_a_line(stacks: StacksFile, report: int) -> None:
    os.truncate(stacks.fd, GIB)
    assert stacks.read_new() == f"(the first {GIB - MAX_STACKS_SIZE} bytes are left out)\n"
    os.write(report, b"task")
    os.truncate(report, GIB)
    assert read_report(report, 100) == f"task\n(further {GIB - 100} bytes are left out)"


def test_it_cannot_be_made_smaller_under_the_reader(stacks: StacksFile) -> None:
    os.write(stacks.fd, b"first\n")
    with pytest.raises(PermissionError):
        os.truncate(stacks.fd, 0)


def test_one_of_an_older_program_that_has_become_smaller_is_empty() -> None:
    fd = os.memfd_create("stacks")
    stacks = StacksFile(fd, read_to=100)
    assert stacks.read_new() == ""
    stacks.close()
