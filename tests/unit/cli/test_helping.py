"""What the program says of itself: help, completion, the manual page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from appserver import __version__
from appserver.cli import main
from appserver.cli.commands import parsers
from appserver.cli.manual import manual
from appserver.cli.words import COMMANDS

ROOT = Path(__file__).parents[3]
BASH = shutil.which("bash") or ""


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def completions(script: str, *words: str) -> list[str]:
    """What bash offers for a command line whose last word is being typed."""
    line = " ".join(f"'{word}'" for word in words)
    call = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _appserver; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run([BASH, "-c", call], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_options_of_every_command(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert printed(capsys, "help", command).startswith(f"usage: appserver {command}")


def test_help_alone_shows_those_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "help")
    assert all(f"\n  {command} " in shown for command in COMMANDS if command not in ("help", "completion"))
    assert "appserver help COMMAND" in shown


def test_help_for_what_is_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "relaod"]) == 2
    assert "did you mean reload?" in capsys.readouterr().err


def test_the_short_option_for_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-V"])
    assert capsys.readouterr().out.startswith(f"appserver {__version__}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scale", "foo"], "argument N: expected how many workers there are to be, or +N or -N, not 'foo'"),
        (["stacks", "foo"], "argument WORKER: expected the number of a worker"),
        (["top", "--interval", "foo"], "expected seconds, not 'foo'"),
    ],
)
def test_a_wrong_value_is_told_in_words(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "some", "none"),
        [
            (["appserver", "re"], {"reload", "reopen-logs"}, {"status"}),
            (["appserver", "main:app", "--lo"], {"--log-level", "--loop"}, {"--bind"}),
            (["appserver", "status", "--"], {"--json", "--control"}, {"--bind"}),
            (["appserver", "main:app", "--log-level", "w"], {"warning"}, {"info"}),
            (["appserver", "completion", ""], {"bash", "zsh", "fish"}, set()),
            (["appserver", "help", "st"], {"status", "stop", "stacks"}, {"reload"}),
        ],
    )
    def test_bash_completes_commands_and_their_options(
        self, capsys: pytest.CaptureFixture[str], words: list[str], some: set[str], none: set[str]
    ) -> None:
        found = set(completions(printed(capsys, "completion", "bash"), *words))
        assert some <= found
        assert not none & found

    def test_bash_completes_names_of_files(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "server.toml").touch()
        script = printed(capsys, "completion", "bash")
        assert completions(script, "appserver", "--config", f"{tmp_path}/ser") == [f"{tmp_path}/server.toml"]

    @pytest.mark.parametrize("shell", ["zsh", "fish"])
    def test_other_shells_get_every_command_and_option(self, capsys: pytest.CaptureFixture[str], shell: str) -> None:
        script = printed(capsys, "completion", shell)
        assert all(command in script for command in COMMANDS)
        assert ("--log-level" if shell == "zsh" else "-l log-level") in script
        if program := shutil.which(shell):
            subprocess.run([program, "-n"], input=script, text=True, check=True)


class TestManual:
    def test_the_page_is_fresh(self) -> None:
        page = (ROOT / "appserver" / "cli" / "appserver.1").read_text(encoding="utf-8")
        assert page == manual(parsers()), "regenerate it: python -m appserver.cli.manual > appserver/cli/appserver.1"

    def test_it_has_every_command_and_every_option(self) -> None:
        page = manual(parsers()).replace("\\-", "-")
        for word, make in parsers().items():
            assert f".SS {word}\n" in page or not word
            for action in make()._actions:
                assert action.dest == "help" or all(flag in page for flag in action.option_strings)
