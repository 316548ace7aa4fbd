"""Tools as the Responses API writes them."""

from __future__ import annotations

from typing import Any

from latimer.dialects.context import Context
from latimer.dialects.messages.request import Request
from latimer.dialects.tools import function_definition, sent_choice, sent_strict, sent_tools


def tool_fields(request: Request, context: Context) -> dict[str, Any]:
    """`tools` and `tool_choice`; {} when the model sees no tools.

    `strict` is always said: where it is left out, OpenAI tries strict mode.
    """
    rules = context.profile.tools
    tools = sent_tools(request, context)
    choice = sent_choice(request, context, tools)
    if not tools:
        return {}
    functions = [function_definition(tool, rules) | {"strict": sent_strict(tool, rules)} for tool in tools]
    fields: dict[str, Any] = {"tools": [{"type": "function"} | function for function in functions]}
    if choice.one_call:
        fields["parallel_tool_calls"] = False
    match choice.kind:
        case None:
            pass
        case "named":
            fields["tool_choice"] = {"type": "function", "name": choice.name}
        case "required":
            fields["tool_choice"] = rules.required_word
        case kind:
            fields["tool_choice"] = kind
    return fields
