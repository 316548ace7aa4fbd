"""Tools as Chat Completions writes them."""

from __future__ import annotations

from typing import Any

from latimer.dialects.context import Context
from latimer.dialects.messages.request import Request
from latimer.dialects.tools import function_definition, sent_choice, sent_strict, sent_tools


def tool_fields(request: Request, context: Context) -> dict[str, Any]:
    """`tools`, `tool_choice` and what the provider wants beside them; {} when the model sees no tools."""
    rules = context.profile.tools
    tools = sent_tools(request, context)
    choice = sent_choice(request, context, tools)
    if not tools:
        return {}
    strict = {"strict": True}
    functions = [function_definition(tool, rules) | (strict if sent_strict(tool, rules) else {}) for tool in tools]
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": function} for function in functions]}
    if choice.one_call:
        fields["parallel_tool_calls"] = False
    match choice.kind:
        case None:
            pass
        case "named":
            fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        case "required":
            fields["tool_choice"] = rules.required_word
        case kind:
            fields["tool_choice"] = kind
    return fields | rules.extra_body
