"""What is done to a module once somebody has imported it."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from appserver.telemetry.importing import when_imported


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    finders, modules = sys.meta_path[:], set(sys.modules)
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_it_is_done_in_the_first_import_and_once(place: Path) -> None:
    (place / "shop_late.py").write_text("done = []\nloaded = True\n")
    done: list[bool] = []
    before = sys.meta_path[:]
    when_imported("shop_late", lambda module: done.append(module.loaded))
    assert done == []
    module = importlib.import_module("shop_late")
    importlib.import_module("shop_late")
    assert done == [True]
    assert sys.meta_path == before
    # It looks as if nobody had waited for it.
    assert isinstance(module.__loader__, SourceFileLoader)
    assert isinstance(module.__spec__ and module.__spec__.loader, SourceFileLoader)
    assert inspect.getsource(module).startswith("done")


def test_it_is_done_at_once_where_the_module_is_there() -> None:
    done: list[int] = []
    when_imported("importlib.machinery", lambda _: done.append(1))
    assert done == [1]


def test_the_last_one_who_asks_counts(place: Path) -> None:
    (place / "shop_twice.py").touch()
    done: list[str] = []
    when_imported("shop_twice", lambda _: done.append("first"))
    when_imported("shop_twice", lambda _: done.append("second"))
    importlib.import_module("shop_twice")
    assert done == ["second"]


def test_a_part_of_a_package_is_known_by_its_whole_name(place: Path) -> None:
    (place / "shop_pack").mkdir()
    (place / "shop_pack" / "__init__.py").touch()
    (place / "shop_pack" / "part.py").touch()
    done: list[str] = []
    when_imported("shop_pack.part", lambda part: done.append(part.__name__))
    importlib.import_module("shop_pack")
    assert done == []
    importlib.import_module("shop_pack.part")
    assert done == ["shop_pack.part"]


def test_a_module_that_cannot_be_imported_is_so_as_without_it(place: Path) -> None:
    (place / "shop_broken.py").write_text("raise ValueError('on purpose')\n")
    done: list[int] = []
    for name in ("shop_broken", "shop_nowhere"):
        when_imported(name, lambda _: done.append(1))
    with pytest.raises(ValueError, match="on purpose"):
        importlib.import_module("shop_broken")
    with pytest.raises(ModuleNotFoundError, match="shop_nowhere"):
        importlib.import_module("shop_nowhere")
    assert done == []
