"""Requests on the way to Chat Completions."""

from __future__ import annotations

from latimer.dialects.surface import told_in
from latimer.dialects.surface_rows import blocks, request, tools

WORDS = {
    "limit": "`max_tokens` or `max_completion_tokens`",
    "messages": "`messages`",
    "content": "string or parts, whichever the server takes",
    "effort": "`reasoning_effort`",
    "format": "`response_format`",
    "image": "`image_url`",
    "calls": "`tool_calls`",
    "result": "a `tool` message",
    "result_id": "`tool_call_id`",
    "function": "`function`",
}

FIELDS = told_in(WORDS, request.FIELDS)
BLOCKS = told_in(WORDS, blocks.BLOCKS)
TOOLS = told_in(WORDS, tools.TOOLS)
