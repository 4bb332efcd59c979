"""The short way to settings comes to what the long one comes to, or to nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import SettingsError
from appserver.settings import Loaded, Override, merging, plain
from appserver.settings.model import SECTIONS
from appserver.settings.rendering import toml_value

APP = Override("app.target", "shop:app", "argument")


def both_ways(
    paths: Sequence[Path], environ: Mapping[str, str], overrides: Sequence[Override] = (APP,)
) -> tuple[Loaded | None, Loaded | None]:
    """What the short way and the long one come to; None: nothing, and problems."""
    try:
        long = merging.merge(tuple(paths), environ, overrides)
    except SettingsError:
        long = None
    return plain.read(tuple(paths), environ, overrides), long


def write(directory: Path, *texts: str) -> list[Path]:
    paths = [directory / f"{index}.toml" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


LISTENERS = '[[listeners]]\nbind = "127.0.0.1:1"\n[[listeners]]\nbind = "[::1]:2"\ndual_stack = true\n'


@pytest.mark.parametrize(
    ("texts", "environ", "overrides"),
    [
        ((), {}, ()),
        (('[http]\nmax_headers = 3\nheaders = ["A: b"]\n',), {}, ()),
        (("\ufeff[lambda]\nstreaming = true\n",), {"APPSERVER_LAMBDA__BASE_PATH": "/shop"}, ()),
        (("[workers]\ncount = 1\n", '[workers]\ncount = "auto"\nloop = "asyncio"\n', LISTENERS), {}, ()),
        ((LISTENERS, '[[listeners]]\nbind = "unix:@shop"\n'), {"WEB_CONCURRENCY": "3"}, ()),
        (
            ("[workers]\nboot_timeout = 1\n",),
            {"WEB_CONCURRENCY": "2", "FORWARDED_ALLOW_IPS": "10.0.0.1, unix", "APPSERVER_WORKERS__COUNT": "4"},
            (Override("workers.count", "5", "--workers"), Override("listeners", [{"bind": "127.0.0.1:0"}], "--bind")),
        ),
        (('[logging.config]\nversion = 1\n[tls]\nkey_password = ""\n',), {"APPSERVER_APP__ROOT_PATH": ""}, ()),
    ],
)
def test_plain_values_go_the_short_way(
    tmp_path: Path, texts: tuple[str, ...], environ: dict[str, str], overrides: tuple[Override, ...]
) -> None:
    short, long = both_ways(write(tmp_path, *texts), environ, (APP, *overrides))
    assert short is not None
    assert long is not None
    assert short.settings == long.settings
    assert dict(short.origins) == dict(long.origins)
    assert short.paths == long.paths


@pytest.mark.parametrize(
    ("texts", "environ", "overrides"),
    [
        (('[app]\ntarget = "a"\n',), {}, ()),
        (("[worker]\ncount = 1\n",), {}, ()),
        (("[workers]\ncuont = 1\n",), {}, ()),
        (("workers = 1\n",), {}, ()),
        (("not TOML\n",), {}, ()),
        (("[app]\ndirectory = 'nowhere'\n",), {}, (APP,)),
        ((), {"APPSERVER_WORKERS__CUONT": "1"}, (APP,)),
        ((), {"appserver_workers__count": "1"}, (APP,)),
        ((), {"APPSERVER_LISTENERS__BIND": "127.0.0.1:1"}, (APP,)),
        ((), {"APPSERVER_SECRETS_DIR": "/nowhere"}, (APP,)),
        ((), {}, (APP, Override("workers", 3, "--set"))),
        ((), {}, (APP, Override("listeners", ["127.0.0.1:1"], "--set"))),
        ((), {}, ()),
    ],
)
def test_a_mistake_is_explained_by_the_long_way(
    tmp_path: Path, texts: tuple[str, ...], environ: dict[str, str], overrides: tuple[Override, ...]
) -> None:
    assert both_ways(write(tmp_path, *texts), environ, overrides) == (None, None)


@pytest.mark.parametrize(
    ("texts", "environ"),
    [
        ((), {"APPSERVER_PROXY__TRUSTED": '["unix"]'}),
        ((), {"APPSERVER_WORKERS": '{"count": 2}'}),
        ((), {"APPSERVER_PORT": "tcp://10.0.0.1:80"}),
        (("[logging.config]\nversion = 1\n", "[logging.config]\ndisable_existing_loggers = false\n"), {}),
    ],
)
def test_what_has_to_be_decoded_or_merged_goes_the_long_way(
    tmp_path: Path, texts: tuple[str, ...], environ: dict[str, str]
) -> None:
    short, long = both_ways(write(tmp_path, *texts), environ)
    assert short is None
    assert long is not None


def test_secrets_go_the_long_way(tmp_path: Path) -> None:
    (tmp_path / "appserver_tls__key_password").write_text("geheim\n")
    short, long = both_ways((), {"APPSERVER_SECRETS_DIR": str(tmp_path)})
    assert short is None
    assert long is not None


def test_a_pipe_is_left_to_the_long_way() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[workers]\ncount = 2\n")
    os.close(writer)
    path = Path(f"/proc/self/fd/{reader}")
    assert plain.read((path,), {}, (APP,)) is None
    assert merging.merge((path,), {}, (APP,)).settings.workers.count == 2
    os.close(reader)


VALUES = st.one_of(
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(0, 10, allow_nan=False),
    st.sampled_from(["", "auto", "1m", "1KiB", "a:b", "127.0.0.1:1", "/", "true", "3", "json", "unix"]),
    st.lists(st.sampled_from(["unix", "*", "a: b", "text/", 1]), max_size=2),
    st.dictionaries(st.sampled_from(["version", "bind"]), st.integers(0, 2), max_size=2),
)
KEYS = st.sampled_from([f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields])
DOCUMENTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=2)
VARIABLES = st.dictionaries(KEYS, st.sampled_from(["", "1", "true", "auto", "a:b", "[]", "{}", "1KiB"]), max_size=2)


@given(DOCUMENTS, VARIABLES, st.dictionaries(KEYS, VALUES, max_size=2))
def test_the_short_way_never_comes_to_anything_else(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[dict[str, Any]],
    variables: dict[str, str],
    overrides: dict[str, Any],
) -> None:
    directory = tmp_path_factory.getbasetemp() / "plain"
    directory.mkdir(exist_ok=True)
    texts = ["".join(f"{key} = {toml_value(value)}\n" for key, value in one.items()) for one in documents]
    environ = {f"APPSERVER_{key.replace('.', '__')}".upper(): text for key, text in variables.items()}
    given_options = [APP, *(Override(key, value, "--set") for key, value in overrides.items())]
    short, long = both_ways(write(directory, *texts), environ, given_options)
    if short is not None:
        assert long is not None
        assert short.settings == long.settings
        assert dict(short.origins) == dict(long.origins)
