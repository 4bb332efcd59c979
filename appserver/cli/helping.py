"""The program's own documentation: `help`, and completion for shells, made from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

from appserver.cli.options import Parser
from appserver.cli.output import show

Parsers = Mapping[str, Callable[[], Parser]]
"""The parsers of all commands by their words; the one of a run under ""."""

SHELLS = ("bash", "zsh", "fish")


def help_parser() -> Parser:
    parser = Parser(
        prog="appserver help", description="Show the options of a command, or of a run.", allow_abbrev=False
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="a command; none for a run")
    return parser


def show_help(options: argparse.Namespace, parsers: Parsers) -> int:
    """Print the help of a command. Raises UsageError for a word that is none."""
    word = options.command or ""
    if word not in parsers:
        from appserver.cli.words import unknown_word

        help_parser().error(unknown_word(word))
    parsers[word]().print_help()
    return 0


def completion_parser() -> Parser:
    parser = Parser(
        prog="appserver completion",
        description="Print what completes command lines of appserver in a shell.",
        epilog="bash and zsh: source <(appserver completion bash), in ~/.bashrc or ~/.zshrc with the name of the shell\n"
        "fish: appserver completion fish > ~/.config/fish/completions/appserver.fish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def show_completion(options: argparse.Namespace, parsers: Parsers) -> int:
    show(_fish(parsers) if options.shell == "fish" else _bash(parsers, zsh=options.shell == "zsh"))
    return 0


def _flags(parser: Parser) -> Iterator[tuple[argparse.Action, list[str]]]:
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield action, list(action.option_strings)


def _takes_file(action: argparse.Action) -> bool:
    return str(action.metavar) in ("FILE", "PATH", "DIR")


def _bash(parsers: Parsers, *, zsh: bool) -> str:
    words = " ".join(word for word in parsers if word)
    lines = ["autoload -U +X bashcompinit && bashcompinit"] if zsh else []
    lines += [
        "_appserver() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} word flags values",
        "    COMPREPLY=()",
        f'    case " {words} " in *" ${{COMP_WORDS[1]}} "*) word=${{COMP_WORDS[1]}} ;; esac',
        "    case $before in",
    ]
    files = sorted(
        {flag for make in parsers.values() for action, flags in _flags(make()) if _takes_file(action) for flag in flags}
    )
    lines.append(f'        {"|".join(files)}) COMPREPLY=($(compgen -f -- "$current")); return ;;')
    for action, flags in _flags(parsers[""]()):
        if action.dest == "log_level":
            lines.append(f'        {"|".join(flags)}) values="debug info warning error critical" ;;')
    lines += ["    esac", "    case $word in"]
    for word, make in parsers.items():
        parser = make()
        names = [flag for _, flags in _flags(parser) for flag in flags]
        choices = words.split() if word in ("", "help") else [str(one) for one in _choices(parser)]
        lines.append(f'        {word or chr(34) * 2}) flags="{" ".join([*names, *choices])}" ;;')
    lines += [
        "    esac",
        '    COMPREPLY=($(compgen -W "${values:-$flags}" -- "$current"))',
        "}",
        "complete -o default -F _appserver appserver",
    ]
    return "\n".join(lines) + "\n"


def _fish(parsers: Parsers) -> str:
    words = [word for word in parsers if word]
    no_word = f"not __fish_seen_subcommand_from {' '.join(words)}"
    lines = ["complete -c appserver -f"]
    lines += [
        f"complete -c appserver -n {_quoted(no_word)} -a {word} -d {_quoted(_summary(parsers[word]()))}"
        for word in words
    ]
    for word, make in parsers.items():
        condition = f"__fish_seen_subcommand_from {word}" if word else no_word
        parser = make()
        for action, flags in _flags(parser):
            names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in flags)
            takes = "" if action.nargs == 0 else " -r -F" if _takes_file(action) else " -r"
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            lines.append(f"complete -c appserver -n {_quoted(condition)} {names}{takes} -d {_quoted(text)}")
        choices = words if word == "help" else [str(one) for one in _choices(parser)]
        if choices:
            lines.append(f"complete -c appserver -n {_quoted(condition)} -a {_quoted(' '.join(choices))}")
    return "\n".join(lines) + "\n"


def _choices(parser: Parser) -> Iterator[object]:
    for action in parser._actions:
        if not action.option_strings:
            yield from action.choices or ()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _summary(parser: Parser) -> str:
    return (parser.description or "").partition(". ")[0].partition(":")[0].rstrip(".")
