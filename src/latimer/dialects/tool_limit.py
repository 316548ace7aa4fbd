"""Which tools go where an upstream takes no more: the same ones every turn, or its cached prefix would be lost.

Kept longest are the tools that a coding agent cannot work without and those that the conversation has used. Both are
offered from the first turn on, so using one changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

CORE = frozenset(
    {
        "Agent", "AskUserQuestion", "Bash", "BashOutput", "Edit", "EnterPlanMode", "ExitPlanMode", "Glob", "Grep",
        "KillShell", "MultiEdit", "NotebookEdit", "Read", "Skill", "SlashCommand", "StructuredOutput", "Task",
        "TaskCreate", "TaskGet", "TaskList", "TaskOutput", "TaskStop", "TaskUpdate", "TodoWrite", "ToolSearch",
        "WebFetch", "WebSearch", "Write", "bash", "str_replace_based_edit_tool", "str_replace_editor",
    }
)  # fmt: skip
"""Claude Code's own tools, and the shell and editor of Anthropic's."""
MCP = "mcp__"
MAX_NAMED = 20


def left_out(names: Sequence[str], limit: int, wanted: Collection[str] = ()) -> list[str]:
    """The names to leave out so that `limit` stay, in their order: MCP tools first, the last listed of them first.

    `wanted` are those that the conversation has called, loaded or must call.
    """
    places = {name: place for place, name in enumerate(names)}
    ranked = sorted(names, key=lambda name: (_rank(name, wanted), places[name]))
    return sorted(ranked[limit:], key=places.__getitem__)


def summary(names: Sequence[str]) -> str:
    """The names in few words: MCP tools by their servers when there are many."""
    if len(names) <= MAX_NAMED:
        return ", ".join(names)
    groups = Counter(_group(name) for name in names)
    told = [group if count == 1 else f"{count} of {group}" for group, count in groups.items()]
    more = len(told) - MAX_NAMED
    return ", ".join(told[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _rank(name: str, wanted: Collection[str]) -> int:
    if name in CORE:
        return 0
    if name in wanted:
        return 1
    return 3 if name.startswith(MCP) else 2


def _group(name: str) -> str:
    """The MCP server of a tool, or the tool."""
    parts = name.split("__")
    return "__".join(parts[:2]) if name.startswith(MCP) and len(parts) > 2 else name
