"""Which of an upstream's dialects loses least. docs/setup.md has the rule in words."""

from __future__ import annotations

from collections.abc import Mapping

from latimer.profile import Dialect

from .talk import Standing

Chosen = tuple[Dialect, str]
"""A dialect, and why it is asked."""


def choose(standing: Mapping[Dialect, Standing], known: Dialect = "chat") -> Chosen | None:
    """The dialect to ask a model in, and why; None when none works.

    `known` is the one that is asked so far: it stays where nothing speaks against it.
    """
    working = {dialect: each for dialect, each in standing.items() if each.works}
    if not working:
        return None
    able = {dialect: each for dialect, each in working.items() if not _is_worse(each, working)}
    names = able or working
    if len(names) == 1:
        only = next(iter(names))
        return only, f"{only} is the only one that works" if len(working) == 1 else f"tools work best in {only}"
    keeping = {dialect: each for dialect, each in names.items() if each.schema}
    if len(keeping) == 1:
        only = next(iter(keeping))
        return only, f"only {only} keeps to a JSON schema"
    names = keeping or names
    messages, responses = names.get("messages"), names.get("responses")
    if messages and messages.tools and messages.streams:
        return "messages", "Claude Code's own dialect does tools in a stream, so nothing is translated"
    if responses and responses.tools and responses.reasons:
        return "responses", "it does tools and carries reasoning"
    if known in names:
        return known, "the other dialects do no more"
    if "chat" in names:
        return "chat", f"{known} does less"
    return ("responses", "it takes tools") if responses else ("messages", "it takes requests")


def _is_worse(mine: Standing, working: Mapping[Dialect, Standing]) -> bool:
    """Whether tools fail in this dialect that work in another."""
    others = [each for each in working.values() if each is not mine]
    if any(each.tools for each in others) and mine.tools is False:
        return True
    # A stream that breaks where another holds; that a small model calls no tool in one of them says nothing.
    return mine.streams is False and any(each.tools and each.streams for each in others)
