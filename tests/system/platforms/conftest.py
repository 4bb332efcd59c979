"""The platforms: one Debian for the whole run, made once, and what is booted or imported from copies of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.platforms.debian import ROOT, build_tree, build_wheels, make_environment, run
from tests.system.platforms.engine import Engine
from tests.system.platforms.machine import ENVIRONMENT, Instance, Machine, install_units

MakeInstance = Callable[..., Instance]

# An instance that is enabled before the machine boots: nobody starts it.
ENABLED = "enabled"


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An untouched tree. APPSERVER_TEST_DEBIAN names one that is there already, for working on these tests."""
    if given := os.environ.get("APPSERVER_TEST_DEBIAN"):
        yield Path(given)
        return
    tree = tmp_path_factory.mktemp("debian") / "tree"
    yield build_tree(tree)
    shutil.rmtree(tree)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with all that it needs, also for being built, and FastAPI.

    APPSERVER_TEST_WHEELS names a directory that holds them already.
    """
    if given := os.environ.get("APPSERVER_TEST_WHEELS"):
        return Path(given)
    return build_wheels(tmp_path_factory.mktemp("wheels"), "orjson", "hatchling", "fastapi")


@pytest.fixture(scope="session")
def machine(debian: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with appserver and its units installed, and one instance enabled."""
    tree = tmp_path_factory.mktemp("machine") / "tree"
    run("cp", "--archive", "--reflink=auto", debian, tree)
    make_environment(tree, wheels, ENVIRONMENT, ["appserver-asgi", "orjson"])
    install_units(tree)
    machine = Machine(tree)
    instance = Instance(machine, ENABLED, {"listeners": [{"bind": "systemd:http"}]})
    run("systemctl", f"--root={tree}", "enable", f"appserver@{ENABLED}.socket", instance.unit)
    with machine:
        yield machine
    shutil.rmtree(tree)


@pytest.fixture
def make_instance(machine: Machine) -> Iterator[MakeInstance]:
    """Prepare an instance of a new name, not started; it is stopped with the test."""
    with ExitStack() as instances:

        def make(name: str, settings: dict[str, Any], **options: Any) -> Instance:
            instance = Instance(machine, name, settings, **options)
            instances.callback(instance.close)
            machine.run("systemctl", "daemon-reload")
            return instance

        yield make


@pytest.fixture(scope="session")
def engine(debian: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that has built the image of the project, `appserver`, and two on top of it: `shop` and `shop-function`.

    These are the example as a server and as a function. APPSERVER_TEST_ENGINE names the directory of an engine that
    has built them already.
    """
    if given := os.environ.get("APPSERVER_TEST_ENGINE"):
        yield Engine(Path(given))
        return
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.import_tree(debian, "base")
    engine.build(ROOT, "appserver", base="localhost/base", wheels=wheels)
    engine.build(ROOT / "deploy/example", "shop", base="localhost/appserver", wheels=wheels)
    file = ROOT / "deploy/lambda/Dockerfile"
    engine.build(ROOT / "deploy", "shop-function", base="localhost/appserver", wheels=wheels, file=file)
    yield engine
    engine.call("rmi", "--all", "--force")
    shutil.rmtree(engine.directory)
