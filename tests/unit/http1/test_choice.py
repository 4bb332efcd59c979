"""Which library reads requests: httptools, and h11 wherever that cannot be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from appserver.http1.lexer_h11 import H11Lexer
from appserver.http1.lexer_httptools import HttptoolsLexer
from appserver.http1.parser import Lexer, make_lexer


@pytest.mark.parametrize(("name", "kind"), [("auto", HttptoolsLexer), ("httptools", HttptoolsLexer), ("h11", H11Lexer)])
def test_the_setting_decides(name: str, kind: type[Lexer]) -> None:
    assert isinstance(make_lexer(name), kind)


def without_httptools(code: str) -> str:
    """What a program prints in which httptools cannot be imported."""
    program = f"import sys\nsys.modules['httptools'] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_h11_takes_its_place_where_there_is_none() -> None:
    code = "from appserver.http1.parser import make_lexer\nprint(type(make_lexer('auto')).__name__)"
    assert without_httptools(code) == "H11Lexer"


def test_what_is_asked_for_by_name_is_not_replaced() -> None:
    code = (
        "from appserver.errors import SettingsError\n"
        "from appserver.http1.parser import make_lexer\n"
        "try:\n    make_lexer('httptools')\n"
        "except SettingsError as error:\n    print(error)"
    )
    expected = "httptools cannot be imported: install it, or leave the choice to the server (auto)"
    assert without_httptools(code) == f"http.parser = httptools: {expected}"
