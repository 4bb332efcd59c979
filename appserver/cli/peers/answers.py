"""Answers to options that another server has and this one has not."""

from __future__ import annotations

from collections import defaultdict

from appserver.cli.peers.table import Option, tables


def answer(flag: str) -> str | None:
    """Say what an option of other servers is here, in a line for each of its meanings; None if none of them has it.

    `flag` is how it was written, without a value; short flags may have theirs attached ("-t30").
    """
    meanings: dict[str, list[str]] = defaultdict(list)
    for table in tables():
        option = table.by_flag(flag)
        if option is None and not flag.startswith("--"):
            option = table.by_flag(flag[:2])
        if option is not None:
            meanings[_meaning(option, flag)].append(table.peer)
    return "\n".join(f"{flag} ({', '.join(peers)}): {text}" for text, peers in meanings.items()) or None


def _meaning(option: Option, flag: str) -> str:
    counterpart = option.counterpart(flag)
    if not counterpart:
        return f"there is no such setting; {option.none}" if option.none else "nothing to be set"
    remark = f" ({option.remark})" if option.remark else ""
    if option.setting and not option.setting.startswith("listeners."):
        return f"here it is {counterpart}: --set {counterpart}={_placeholder(option)}{remark}"
    if (option.on and flag not in option.negated) or option.off:
        words = " ".join(f"--set {part.replace(' = ', '=', 1)}" for part in counterpart.split(", "))
        return f"here it is {words}{remark}"
    return f"here it is {counterpart}{remark}"


def _placeholder(option: Option) -> str:
    return "[...]" if option.split or option.takes == "values" else "..."
