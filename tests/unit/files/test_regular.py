"""Opening, replacing and reading files in directories of every kind."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appserver.files import (
    UnsafeFileError,
    make_directory,
    open_existing,
    open_to_append,
    read,
    read_input,
    read_small,
    remove,
    replace,
)
from tests.support.attacker import GROUP, UID, USER, needs_root

Make = Callable[[Path, Path], object]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of another user's."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    shutil.chown(directory, USER, GROUP)
    return directory


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A file that nothing may happen to."""
    path = tmp_path / "precious"
    path.write_text("secret")
    path.chmod(0o600)
    before = path.stat()
    yield path
    after = path.stat()
    assert (path.read_text(), after.st_uid, after.st_mode) == ("secret", before.st_uid, before.st_mode)


def append(path: Path, uid: int = -1) -> None:
    fd = open_to_append(path, uid)
    os.write(fd, b"line\n")
    os.close(fd)


class TestOwnDirectory:
    """Where only root and this user can write, what is there is what the operator wants."""

    def test_a_file_is_made_and_appended_to(self, tmp_path: Path) -> None:
        append(tmp_path / "log")
        append(tmp_path / "log")
        assert (tmp_path / "log").read_text() == "line\n" * 2
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o640

    def test_links_are_followed_to_their_end(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "real" / "current").symlink_to(tmp_path / "real" / "log")
        append(tmp_path / "link" / ".." / "link" / "current")
        assert (tmp_path / "real" / "log").read_text() == "line\n"

    def test_a_circle_of_links_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "log").symlink_to("log")
        with pytest.raises(OSError, match="Too many levels"):
            append(tmp_path / "log")

    def test_a_second_name_is_refused(self, tmp_path: Path, precious: Path) -> None:
        (tmp_path / "log").hardlink_to(precious)
        with pytest.raises(UnsafeFileError, match="has 2 names"):
            append(tmp_path / "log")

    def test_a_directory_is_an_error(self, tmp_path: Path) -> None:
        for path in (tmp_path, Path("/"), tmp_path / ".."):
            with pytest.raises(IsADirectoryError):
                append(path)

    def test_a_file_on_the_way_is_an_error(self, precious: Path) -> None:
        with pytest.raises(NotADirectoryError):
            append(precious / "log")

    def test_what_is_missing_on_the_way_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            append(tmp_path / "none" / "log")

    def test_a_fifo_that_somebody_reads_is_written_to(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        append(tmp_path / "fifo")
        assert os.read(reader, 10) == b"line\n"
        os.close(reader)

    def test_a_descriptor_of_this_process_is_opened_by_its_link(self, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        (tmp_path / "out").symlink_to(f"/proc/self/fd/{writer}")
        append(tmp_path / "out", os.geteuid())
        assert os.read(reader, 10) == b"line\n"
        os.close(reader)
        os.close(writer)

    @needs_root
    def test_a_file_is_handed_over_whoever_had_it(self, tmp_path: Path) -> None:
        (tmp_path / "log").touch()
        append(tmp_path / "log", UID)
        assert (tmp_path / "log").stat().st_uid == UID

    @needs_root
    def test_a_device_is_not_handed_over(self) -> None:
        append(Path("/dev/null"), UID)
        assert Path("/dev/null").stat().st_uid == 0


@needs_root
class TestDirectoryOfAnother:
    def test_a_new_file_is_made_and_handed_over(self, theirs: Path) -> None:
        append(theirs / "log", UID)
        assert (theirs / "log").stat().st_uid == UID
        append(theirs / "log", UID)
        assert (theirs / "log").read_text() == "line\n" * 2

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (lambda log, precious: log.symlink_to(precious), "is a symbolic link, and the user nobody can write to"),
            (lambda log, precious: log.symlink_to(log.parent / "new"), "is a symbolic link"),
            (lambda log, precious: log.hardlink_to(precious), "has 2 names"),
            (lambda log, precious: shutil.copy(precious, log), "belongs to root and would be given to the workers"),
        ],
    )
    def test_what_another_may_have_put_there_is_refused(
        self, theirs: Path, precious: Path, make: Make, what: str
    ) -> None:
        make(theirs / "log", precious)
        with pytest.raises(UnsafeFileError, match=what) as refused:
            append(theirs / "log", UID)
        assert refused.value.filename == str(theirs / "log")
        assert not (theirs / "new").exists()

    def test_a_link_on_the_way_is_refused(self, tmp_path: Path, theirs: Path) -> None:
        (tmp_path / "mine").mkdir()
        (theirs / "logs").symlink_to(tmp_path / "mine")
        with pytest.raises(UnsafeFileError, match=f"{theirs}/logs is a symbolic link"):
            append(theirs / "logs" / "log", UID)
        assert not os.listdir(tmp_path / "mine")

    def test_a_fifo_is_refused(self, theirs: Path) -> None:
        os.mkfifo(theirs / "log")
        reader = os.open(theirs / "log", os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(UnsafeFileError, match="is not a regular file"):
            append(theirs / "log")
        os.close(reader)

    def test_a_file_of_a_third_user_is_refused(self, theirs: Path) -> None:
        (theirs / "log").touch()
        os.chown(theirs / "log", 12345, -1)
        with pytest.raises(UnsafeFileError, match="belongs to uid 12345"):
            append(theirs / "log")

    def test_a_directory_below_theirs_is_as_theirs(self, theirs: Path, precious: Path) -> None:
        (theirs / "roots").mkdir()
        (theirs / "roots" / "log").write_bytes(precious.read_bytes())
        with pytest.raises(UnsafeFileError, match="belongs to root"):
            append(theirs / "roots" / "log", UID)

    @pytest.mark.parametrize("mode", [0o777, 0o775])
    def test_so_is_one_that_everybody_or_a_group_can_write_to(self, tmp_path: Path, mode: int, precious: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        os.chown(shared, 0, 12345)
        shared.chmod(mode)
        (shared / "log").symlink_to(precious)
        with pytest.raises(UnsafeFileError, match="every user can" if mode == 0o777 else "the group gid 12345 can"):
            append(shared / "log")

    def test_in_a_sticky_one_the_owner_of_a_link_decides(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "log").symlink_to(tmp_path / "log")
        append(shared / "log")
        assert (tmp_path / "log").read_text() == "line\n"
        os.chown(shared / "log", UID, -1, follow_symlinks=False)
        with pytest.raises(UnsafeFileError, match="symbolic link"):
            append(shared / "log")


class TestReplace:
    def test_a_link_is_replaced_and_not_followed(self, tmp_path: Path, precious: Path) -> None:
        (tmp_path / "file").symlink_to(precious)
        replace(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_text() == "new"
        assert not (tmp_path / "file").is_symlink()
        assert sorted(os.listdir(tmp_path)) == ["file", "precious"]

    def test_nothing_is_left_of_one_that_fails(self, tmp_path: Path) -> None:
        (tmp_path / "file").mkdir()
        with pytest.raises(IsADirectoryError):
            replace(tmp_path / "file", b"new")
        assert os.listdir(tmp_path) == ["file"]

    def test_it_is_removed(self, tmp_path: Path) -> None:
        replace(tmp_path / "file", b"new")
        remove(tmp_path / "file")
        assert not os.listdir(tmp_path)


class TestReading:
    def test_a_small_file_is_read_up_to_a_limit(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("123456")
        assert read_small(tmp_path / "file", 4) == b"1234"

    @pytest.mark.parametrize("kind", ["link", "second name", "fifo", "directory", "socket"])
    def test_nothing_but_a_file_is_opened(self, tmp_path: Path, precious: Path, kind: str) -> None:
        path = tmp_path / "file"
        match kind:
            case "link":
                path.symlink_to(precious)
            case "second name":
                path.hardlink_to(precious)
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                with socket.socket(socket.AF_UNIX) as bound:
                    bound.bind(str(path))
        directory = os.open(tmp_path, os.O_PATH)
        try:
            with pytest.raises(OSError):  # noqa: PT011  # the kernel says it in one case, we in the other
                open_existing("file", directory)
        finally:
            os.close(directory)


class TestDirectories:
    def test_one_is_made_once(self, tmp_path: Path) -> None:
        for _ in range(2):
            make_directory(tmp_path / "new", os.geteuid())
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "new").symlink_to("other")
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            make_directory(tmp_path / "new", os.geteuid())


class TestReadingForOthers:
    """What is read with the privileges of this process, and its content handed on."""

    def test_a_file_is_read_if_it_is_not_too_long(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("123456")
        (tmp_path / "link").symlink_to("file")
        assert read(tmp_path / "link", 6) == b"123456"
        with pytest.raises(OSError, match="larger than 5 bytes"):
            read(tmp_path / "file", 5)

    def test_a_sparse_file_costs_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        os.truncate(tmp_path / "file", 1024**4)
        with pytest.raises(OSError, match="larger than 1000 bytes"):
            read(tmp_path / "file", 1000)

    def test_a_pipe_of_this_process_is_read_to_its_end(self) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"NAME=value\n")
        os.close(writer)
        assert read(Path(f"/dev/fd/{reader}"), 100) == b"NAME=value\n"
        os.close(reader)

    def test_one_that_is_written_into_late_is_waited_for(self, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)

        def write() -> None:
            with fifo.open("wb", buffering=0) as pipe:  # once there is a reader
                pipe.write(b"NAME=")
                pipe.write(b"value\n")

        with ThreadPoolExecutor() as pool:
            written = pool.submit(write)
            assert read(fifo, 100) == b"NAME=value\n"
            written.result()

    @pytest.mark.parametrize("reading", [read, read_input])
    def test_one_that_does_not_end_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: Callable[[Path, int], bytes]
    ) -> None:
        monkeypatch.setattr("appserver.files.regular.PATIENCE", 0.01)
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with pytest.raises(OSError, match=r"not come to its end within 0\.01 s"):
            reading(fifo, 100)
        writer = os.open(fifo, os.O_RDWR)
        os.write(writer, b"half")
        with pytest.raises(OSError, match=r"not come to its end within 0\.01 s"):
            reading(fifo, 100)
        os.close(writer)

    @needs_root
    def test_a_file_of_the_other_users_own_is_read(self, theirs: Path) -> None:
        (theirs / "file").write_text("theirs")
        shutil.chown(theirs / "file", USER)
        assert read(theirs / "file", 100) == b"theirs"

    @needs_root
    @pytest.mark.parametrize("kind", ["link", "second name", "fifo"])
    def test_what_may_be_a_file_that_they_cannot_read_is_refused(self, theirs: Path, precious: Path, kind: str) -> None:
        match kind:
            case "link":
                (theirs / "file").symlink_to(precious)
            case "second name":
                (theirs / "file").hardlink_to(precious)
            case "fifo":
                os.mkfifo(theirs / "file")
        with pytest.raises(UnsafeFileError, match=str(theirs)):
            read(theirs / "file", 100)
