"""The samples in config/ are valid, as the program itself says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority

ROOT = Path(__file__).parents[2]
SAMPLES = sorted([*(ROOT / "config").glob("*.toml"), *(ROOT / "config").glob("*/*.toml")])
# What the samples name lies elsewhere on the machine that they are for.
PLACES = re.compile(r'"(unix:)?/(run|var|etc|srv)/')


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: the path of a unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_there_is_a_sample_for_each_kind_of_place() -> None:
    expected = {"server", "small-host", "behind-nginx", "tls", "kubernetes", "container", "django"}
    assert expected <= {sample.stem for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.relative_to(ROOT / "config")))
def test_the_sample_is_valid(sample: Path, directory: Path) -> None:
    machine = directory / "machine"
    text = PLACES.sub(rf'"\1{machine}/\2/', sample.read_text(encoding="utf-8"))
    for path in map(Path, re.findall(rf'"(?:unix:)?({re.escape(str(machine))}/[^"]*)"', text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".env":
            path.touch()
        elif path.parent.name == "srv":
            path.mkdir()
    if "[tls]\ncertificate" in text:
        certificate, key = Authority().issue("shop.example").write(directory)
        for name, issued in (("fullchain.pem", certificate), ("privkey.pem", key)):
            (machine / "etc/letsencrypt/live/shop.example" / name).symlink_to(issued)
    file = directory / "server.toml"
    file.write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPSERVER_")}
    command = [sys.executable, "-m", "appserver", "check", "--config", str(file)]
    checked = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == f"{file}: the settings are valid\n"


def test_every_sample_but_the_demo_can_be_watched() -> None:
    for sample in SAMPLES:
        if sample.parent.name == "config" and sample.stem != "server":
            assert re.search(r'^bind = "[^"]*:9464"', sample.read_text(encoding="utf-8"), re.MULTILINE), sample
