"""Requests on the way to the Responses API."""

from __future__ import annotations

from latimer.dialects.surface import Row, told_in
from latimer.dialects.surface_rows import blocks, request, tools

WORDS = {
    "limit": "`max_output_tokens`, 16 at least",
    "messages": "`input`, an item for each thing that was said or done",
    "content": "parts, or a string where the server takes nothing else",
    "effort": "`reasoning.effort`",
    "format": "`text.format`",
    "image": "`input_image`",
    "calls": "a `function_call` item",
    "result": "a `function_call_output` item",
    "result_id": "`call_id`",
    "function": "`function`, which always says whether it is strict",
}

EFFORT = "tests/dialects/responses/test_request.py::test_effort_is_all_there_is_to_say"
OWN = (
    Row("thinking.adaptive", "carried", "`reasoning.summary`; how hard is up to the provider or the effort", EFFORT),
    Row("thinking.*.display=omitted", "carried", "no `reasoning.summary` is asked for", EFFORT),
    Row("thinking.*.display=summarized", "met", "a summary is what the provider gives", EFFORT),
    Row("thinking.*.display=updates", "approximated", "a summary is what the provider gives", EFFORT),
)  # fmt: skip

FIELDS = told_in(WORDS, request.FIELDS, OWN)
BLOCKS = told_in(WORDS, blocks.BLOCKS)
TOOLS = told_in(WORDS, tools.TOOLS)
