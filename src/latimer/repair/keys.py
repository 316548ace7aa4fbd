"""Names that models give to arguments in place of the schema's."""

from __future__ import annotations

from collections.abc import Iterable

SYNONYMS: dict[str, frozenset[str]] = {
    "file_path": frozenset({"file", "path", "filename", "filepath", "absolute_path"}),
    "path": frozenset({"file_path", "file", "filename", "dir", "directory"}),
    "notebook_path": frozenset({"file_path", "path", "file", "notebook"}),
    "command": frozenset({"cmd", "bash", "shell_command", "script"}),
    "pattern": frozenset({"regex", "query", "glob"}),
    "query": frozenset({"q", "search", "search_query"}),
    "url": frozenset({"uri", "link"}),
    "prompt": frozenset({"instructions", "task"}),
    "content": frozenset({"contents", "text", "file_text", "file_content"}),
    "old_string": frozenset({"old_str", "old_text"}),
    "new_string": frozenset({"new_str", "new_text"}),
    "new_source": frozenset({"source", "content"}),
    "todos": frozenset({"todo", "todo_list", "items", "tasks"}),
}
"""Required names to what models write instead; short on purpose, since a wrong guess runs another command."""

EMPTY_IS_ABSENT = frozenset({"pages"})
"""Optional strings that a client refuses when they are empty, though its schema allows it (Claude Code's Read)."""


def may_mean(key: str, required: str) -> bool:
    """Whether an unknown key may stand for a required one."""
    return _bare(key) == _bare(required) or key.lower() in SYNONYMS.get(required, ())


def renames(keys: Iterable[str], missing: Iterable[str]) -> dict[str, str]:
    """Unknown keys to the missing ones they stand for: only where each has no other choice."""
    pairs = [(key, wanted) for key in keys for wanted in missing if may_mean(key, wanted)]
    return {
        key: wanted
        for key, wanted in pairs
        if sum(key == other for other, _ in pairs) == 1 and sum(wanted == other for _, other in pairs) == 1
    }


def _bare(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()
