"""The rules of an unforgiving Chat Completions server.

Real providers differ in what they let pass. This one lets nothing pass that any of them refuses, so a request that gets
through here is well-formed everywhere. The vocabulary comes from the official `openai` SDK's own types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from openai.types.chat import completion_create_params as spec
from openai.types.shared.reasoning_effort import ReasoningEffort

from tests.scenarios.checking import (
    FILE_URL,
    IMAGE_URL,
    TOOL_NAME,
    Json,
    MalformedError,
    an_object,
    check_arguments,
    check_model,
    check_url,
    objects,
    only,
    parse,
    require,
)

__all__ = ["Json", "MalformedError", "Rules", "parse"]

TOP_LEVEL = frozenset(spec.CompletionCreateParamsBase.__annotations__) | {"stream"}
EFFORTS = frozenset(level for member in get_args(ReasoningEffort) for level in get_args(member))
TOOL_ID_MAX = 40
TOOLS_MAX = 128

MESSAGE_KEYS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
PART_TYPES: Mapping[str, frozenset[str]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "file", "input_audio"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text"}),
}
# Anthropic's words. One of them in a body means that something was copied through instead of translated.
FOREIGN_KEYS = frozenset(
    {
        "anthropic_version", "cache_control", "context_management", "defer_loading", "input_schema", "is_error",
        "output_config", "signature", "source", "stop_sequences", "thinking", "tool_use_id",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What one scripted upstream accepts beyond the specification."""

    model: str = "m"
    top_level: frozenset[str] = frozenset()
    message_keys: frozenset[str] = frozenset()
    part_keys: frozenset[str] = frozenset()
    call_keys: frozenset[str] = frozenset()
    part_types: frozenset[str] = frozenset()
    """Of assistant messages, beyond text."""
    tool_images: bool = False
    mid_system: bool = True
    images: bool = True
    any_field: bool = False
    """Whether unknown fields at the top level are ignored; a field in Anthropic's words is still a mistake."""
    efforts: frozenset[str] = EFFORTS

    def check(self, body: Json) -> None:
        """Raise `MalformedError` for the first rule that `body` breaks."""
        _check_top_level(body, self)
        _check_foreign(body, self)
        _check_tools(body)
        _check_messages(body["messages"], self)


def _check_top_level(body: Json, rules: Rules) -> None:
    if not rules.any_field:
        only(body, TOP_LEVEL | rules.top_level, "")
    check_model(body, rules.model)
    require(isinstance(body.get("messages"), list) and bool(body["messages"]), "'messages' is empty", "messages")
    limits = [key for key in ("max_tokens", "max_completion_tokens") if key in body]
    require(len(limits) < 2, "max_tokens and max_completion_tokens are exclusive", "max_tokens")
    for key in limits:
        require(type(body[key]) is int and body[key] > 0, f"{key} must be a positive integer", key)
    require(isinstance(body.get("stream", False), bool), "'stream' must be a boolean", "stream")
    if "stream_options" in body:
        require(body.get("stream") is True, "stream_options is only allowed when stream is enabled", "stream_options")
        only(an_object(body["stream_options"], "stream_options"), {"include_usage", "include_obfuscation"}, "")
    _check_sampling(body, rules)
    if "response_format" in body:
        _check_response_format(an_object(body["response_format"], "response_format"))


def _check_sampling(body: Json, rules: Rules) -> None:
    for key, top in (("temperature", 2), ("top_p", 1)):
        if key in body:
            require(isinstance(body[key], int | float) and 0 <= body[key] <= top, f"{key} is out of range", key)
    if "reasoning_effort" in body:
        require(body["reasoning_effort"] in rules.efforts, "unsupported reasoning_effort", "reasoning_effort")
    if "stop" in body:
        stops = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
        require(1 <= len(stops) <= 4 and all(isinstance(stop, str) for stop in stops), "'stop' takes 1 to 4", "stop")
    for key, longest in (("safety_identifier", 128), ("prompt_cache_key", 64), ("user", 128)):
        if key in body:
            require(isinstance(body[key], str) and len(body[key]) <= longest, f"{key} is too long", key)


def _check_response_format(form: Json) -> None:
    kind = form.get("type")
    require(kind in {"text", "json_object", "json_schema"}, f"unsupported response_format {kind!r}", "response_format")
    if kind != "json_schema":
        return
    only(form, {"type", "json_schema"}, "response_format.")
    inner = an_object(form.get("json_schema"), "response_format.json_schema")
    only(inner, {"name", "description", "schema", "strict"}, "response_format.json_schema.")
    require(bool(TOOL_NAME.fullmatch(inner.get("name", ""))), "response_format needs a name", "response_format")
    schema = an_object(inner.get("schema"), "response_format.json_schema.schema")
    if inner.get("strict"):
        for node in objects(schema):
            if node.get("type") == "object":
                complete = set(node.get("required", ())) == set(node.get("properties", {}))
                closed = node.get("additionalProperties") is False
                require(complete and closed, "Invalid schema for response_format: not strict", "response_format")


def _check_foreign(body: Json, rules: Rules) -> None:
    """No Anthropic word may be left anywhere but in a tool's own schema, where any property name is legal."""
    tools = [{**tool, "function": None} if isinstance(tool, dict) else tool for tool in body.get("tools", [])]
    functions = [tool.get("function") for tool in body.get("tools", []) if isinstance(tool, dict)]
    bare = [{**function, "parameters": None} for function in functions if isinstance(function, dict)]
    allowed = rules.top_level | rules.message_keys | rules.part_keys | rules.call_keys
    # What a chat template calls its switches is the template's own affair.
    top = {**body, "tools": None, "response_format": None, "chat_template_kwargs": None}
    for node in objects([top, tools, bare]):
        foreign = sorted((FOREIGN_KEYS - allowed).intersection(node))
        if foreign:
            raise MalformedError(f"Unrecognized request argument supplied: {foreign[0]}", code="unknown_parameter")


def _check_tools(body: Json) -> None:
    tools = body.get("tools")
    if tools is None:
        for key in ("tool_choice", "parallel_tool_calls"):
            require(key not in body, f"'{key}' is only allowed when 'tools' are specified.", key)
        return
    require(isinstance(tools, list) and 0 < len(tools) <= TOOLS_MAX, f"'tools' takes 1 to {TOOLS_MAX}", "tools")
    names = [_check_tool(an_object(tool, f"tools[{i}]"), i) for i, tool in enumerate(tools)]
    require(len(set(names)) == len(names), "Tool names must be unique.", "tools")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        only(choice, {"type", "function"}, "tool_choice.")
        require(choice.get("type") == "function", "unsupported tool_choice type", "tool_choice")
        require(
            an_object(choice.get("function"), "tool_choice.function").get("name") in names, "tool_choice: no such tool"
        )
    else:
        require(choice in {"auto", "none", "required"}, f"unsupported tool_choice {choice!r}", "tool_choice")


def _check_tool(tool: Json, index: int) -> str:
    where = f"tools[{index}]"
    only(tool, {"type", "function"}, f"{where}.")
    require(tool.get("type") == "function", f"Invalid value for '{where}.type'", where)
    function = an_object(tool.get("function"), f"{where}.function")
    only(function, {"name", "description", "parameters", "strict"}, f"{where}.function.")
    name = function.get("name")
    require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{where}.function.name': {name!r}")
    require(isinstance(function.get("description", ""), str), f"{where}.function.description must be a string")
    parameters = an_object(function.get("parameters", {"type": "object"}), f"{where}.function.parameters")
    require(parameters.get("type") == "object", f"Invalid schema for function {name!r}: type must be 'object'", where)
    require(isinstance(parameters.get("properties", {}), dict), f"Invalid schema for function {name!r}", where)
    return cast(str, name)


def _check_messages(messages: list[Any], rules: Rules) -> None:
    pending: list[str] = []
    for index, item in enumerate(messages):
        message = an_object(item, f"messages[{index}]")
        role = message.get("role")
        require(role in MESSAGE_KEYS, f"Invalid value: '{role}' at messages[{index}].role", f"messages[{index}].role")
        only(message, MESSAGE_KEYS[cast(str, role)] | rules.message_keys, f"messages[{index}].")
        if role == "tool":
            identity = message.get("tool_call_id")
            require(
                identity in pending,
                f"messages[{index}]: role 'tool' must be a response to a preceding message with 'tool_calls'.",
            )
            pending.remove(cast(str, identity))
        else:
            require(
                not pending,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(pending)}",
            )
        if role in {"system", "developer"}:
            require(rules.mid_system or index == 0, "System message must be at the beginning.", f"messages[{index}]")
        if role == "assistant":
            pending = _check_calls(message, f"messages[{index}]", rules)
        _check_content(message, f"messages[{index}]", rules)
    require(not pending, f"tool_call_ids did not have response messages: {', '.join(pending)}")


def _check_calls(message: Json, where: str, rules: Rules) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return []
    require(isinstance(calls, list) and bool(calls), f"Invalid '{where}.tool_calls': empty array")
    for index, item in enumerate(calls):
        here = f"{where}.tool_calls[{index}]"
        call = an_object(item, here)
        only(call, {"id", "type", "function"} | rules.call_keys, f"{here}.")
        require(call.get("type") == "function", f"Invalid value for '{here}.type'")
        identity = call.get("id")
        legal = isinstance(identity, str) and 0 < len(identity) <= TOOL_ID_MAX
        require(legal, f"Invalid '{here}.id': expected a string with maximum length {TOOL_ID_MAX}")
        function = an_object(call.get("function"), f"{here}.function")
        only(function, {"name", "arguments"}, f"{here}.function.")
        name = function.get("name")
        require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{here}.function.name': {name!r}")
        check_arguments(function.get("arguments"), f"{here}.function.arguments")
    ids = [call["id"] for call in calls]
    require(len(set(ids)) == len(ids), f"Duplicate ids in '{where}.tool_calls'")
    return ids


def _check_content(message: Json, where: str, rules: Rules) -> None:
    role, content = message["role"], message.get("content")
    if content is None:
        require(role == "assistant" and "tool_calls" in message, f"Invalid '{where}.content': null")
    elif isinstance(content, str):
        require(bool(content) or "tool_calls" in message, f"Invalid '{where}.content': empty string")
    else:
        require(isinstance(content, list) and bool(content), f"Invalid '{where}.content': empty array")
        for index, part in enumerate(content):
            _check_part(an_object(part, f"{where}.content[{index}]"), f"{where}.content[{index}]", role, rules)


def _check_part(part: Json, where: str, role: str, rules: Rules) -> None:
    kind = part.get("type")
    known = PART_TYPES[role] | (rules.part_types if role == "assistant" else frozenset())
    known |= {"image_url"} if role == "tool" and rules.tool_images else frozenset()
    require(kind in known, f"Invalid content type at {where}: '{kind}' in a message of role '{role}'")
    if kind == "text":
        only(part, {"type", "text", "prompt_cache_breakpoint"} | rules.part_keys, f"{where}.")
        require(isinstance(part.get("text"), str) and bool(part["text"]), f"Invalid '{where}.text': empty string")
    elif kind == "image_url":
        require(rules.images, f"Invalid content type at {where}: this model does not support image input")
        only(part, {"type", "image_url", "prompt_cache_breakpoint"}, f"{where}.")
        image = an_object(part.get("image_url"), f"{where}.image_url")
        only(image, {"url", "detail"}, f"{where}.image_url.")
        check_url(image.get("url", ""), IMAGE_URL, f"{where}.image_url.url")
    elif kind == "file":
        only(part, {"type", "file", "prompt_cache_breakpoint"}, f"{where}.")
        file = an_object(part.get("file"), f"{where}.file")
        only(file, {"file_data", "file_id", "filename"}, f"{where}.file.")
        check_url(file.get("file_data", ""), FILE_URL, f"{where}.file.file_data")
