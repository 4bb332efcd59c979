"""appserver.files.kinds: questions about paths that always have an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from appserver.files.kinds import destination, exists, is_directory, is_regular


def test_a_place_that_may_not_be_looked_into_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    assert exists(tmp_path)
    assert is_directory(tmp_path)
    assert not is_regular(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.stat", denied)
        answers = [exists(tmp_path), is_directory(tmp_path), is_regular(tmp_path)]
    assert answers == [False] * 3


def test_a_link_leads_somewhere_also_while_somebody_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: object, **_: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    link = tmp_path / "link"
    link.symlink_to("file")
    assert destination(link) == tmp_path / "file"
    with monkeypatch.context() as patch:
        patch.setattr("os.readlink", gone)
        found = destination(link)
    assert found == link
