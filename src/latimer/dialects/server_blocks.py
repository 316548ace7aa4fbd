"""Blocks that only Anthropic's servers produce, told as text to a model that has no such servers.

A conversation that began elsewhere holds them: searches, fetched pages, code that ran, summaries. Shapes are those of
the official SDK's types (anthropic 2.12, `types/beta/*_block_param.py`).
"""

from __future__ import annotations

from typing import Any

from msgspec import json

from latimer.dialects.messages.compaction import told_summary
from latimer.documents import UnreadableDocument, pdf_text
from latimer.server_tools.results import told_hit
from latimer.wire import messages as wire

SILENT = frozenset({"fallback", "tool_addition", "tool_removal"})
"""Blocks without words: which model took over is nobody's concern here, and the tool list itself shows its changes."""

_RESULTS = {
    "web_search_tool_result": "search results",
    "web_fetch_tool_result": "fetched page",
    "code_execution_tool_result": "output",
    "bash_code_execution_tool_result": "output",
    "text_editor_code_execution_tool_result": "output",
    "tool_search_tool_result": "tools found",
    "mcp_tool_result": "result",
    "advisor_tool_result": "advice",
}


def told(block: wire.UnknownBlock) -> str | None:
    """What the block says, '' when it says nothing, None when its type is unknown."""
    if block.type in SILENT:
        return ""
    value = json.decode(block.raw)
    match value:
        case {"type": "server_tool_use", "name": name}:
            return f"[{name} {_input(value)}]"
        case {"type": "mcp_tool_use", "name": name, "server_name": server}:
            return f"[mcp__{server}__{name} {_input(value)}]"
        case {"type": "mcp_tool_listing", "mcp_server_name": server}:
            return f"[the tools of MCP server {server}]"
        case {"type": "compaction"}:
            summary = _said(value.get("content"))
            return told_summary(summary) if summary else ""
        case {"type": "browser_state", "tabs": list(tabs)}:
            return "\n".join(["[browser tabs]", *(_tab(tab) for tab in tabs)])
        case {"type": kind} if kind in _RESULTS:
            head = "error" if value.get("is_error") else _RESULTS[kind]
            return f"[{head}]\n{_said(value.get('content')) or '(no output)'}"
        case _:
            return None


def _input(value: dict[str, Any]) -> str:
    return json.encode(value.get("input", {})).decode()


def _said(value: Any) -> str:
    """The words in a result, which each kind of result nests in its own way."""
    match value:
        case str():
            return value
        case list():
            return "\n".join(text for text in map(_said, value) if text)
        case {"error_code": code}:
            return f"error: {code}"
        case {"type": "web_search_result", "title": _, "url": _}:
            return told_hit(value)
        case {"type": "tool_reference", "tool_name": name}:
            return str(name)
        case {"encrypted_stdout": _}:
            return f"(output that only Anthropic can read)\n{_said(value.get('stderr'))}".strip()
        case {"stdout": out, "stderr": err}:
            return "\n".join(text for text in (_said(out), _said(err), _exit_code(value)) if text)
        case {"type": "document", "source": source}:
            return _document(source)
        case {"url": url, "content": content}:
            return f"{url}\n{_said(content)}"
        case {"is_file_update": updated}:
            return "file updated" if updated else "file created"
        case dict():
            inner = (value.get(key) for key in ("text", "content", "lines", "tool_references", "data"))
            return next((text for text in map(_said, inner) if text), "")
        case _:
            return ""


def _document(source: Any) -> str:
    match source:
        case {"type": "base64", "media_type": "application/pdf", "data": str(data)}:
            try:
                return pdf_text(data)
            except UnreadableDocument as error:
                return f"[document left out: {error}]"
        case _:
            return _said(source)


def _exit_code(value: dict[str, Any]) -> str:
    code = value.get("return_code")
    return f"exit code {code}" if code else ""


def _tab(tab: Any) -> str:
    if not isinstance(tab, dict):
        return ""
    mark = "* " if tab.get("active") else "- "
    return f"{mark}{tab.get('tab_id', '')}: {tab.get('title', '')} {tab.get('url', '')}".rstrip()
