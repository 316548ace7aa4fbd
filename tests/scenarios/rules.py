"""The rules of an unforgiving Chat Completions server.

Real providers differ in what they let pass. This one lets nothing pass that any of them refuses, so a request that gets
through here is well-formed everywhere. The vocabulary comes from the official `openai` SDK's own types.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from openai.types.chat import completion_create_params as spec
from openai.types.shared.reasoning_effort import ReasoningEffort

Json = dict[str, Any]

TOP_LEVEL = frozenset(spec.CompletionCreateParamsBase.__annotations__) | {"stream"}
EFFORTS = frozenset(level for member in get_args(ReasoningEffort) for level in get_args(member))
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TOOL_ID_MAX = 40
TOOLS_MAX = 128
IMAGE_URL = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,(.*)", re.DOTALL)
FILE_URL = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,(.*)", re.DOTALL)

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
    mid_system: bool = True
    images: bool = True

    def check(self, body: Json) -> None:
        """Raise `MalformedError` for the first rule that `body` breaks."""
        _check_top_level(body, self)
        _check_foreign(body, self)
        _check_tools(body)
        _check_messages(body["messages"], self)


class MalformedError(Exception):
    """The request breaks a rule; the message names the place, `code` is the provider's word for it."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


def parse(raw: bytes) -> Json:
    """Decode a request body, refusing what lenient JSON parsers let pass."""

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise MalformedError(f"duplicate keys in one object: {sorted(keys)}")
        return dict(pairs)

    def constant(word: str) -> Any:
        raise MalformedError(f"{word} is not JSON")

    try:
        body = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=constant)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MalformedError(f"We could not parse the JSON body of your request: {error}") from error
    return _object(body, "body")


def _object(value: Any, where: str) -> Json:
    _require(isinstance(value, dict), f"Invalid type for '{where}': expected an object, got {type(value).__name__}")
    return cast(Json, value)


def _require(condition: bool, message: str, param: str | None = None) -> None:
    if not condition:
        raise MalformedError(message, param=param, code="invalid_value")


def _only(found: Iterable[str], allowed: Iterable[str], where: str) -> None:
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        raise MalformedError(
            f"Unrecognized request argument supplied: {where}{unknown[0]}", param=unknown[0], code="unknown_parameter"
        )


def _check_top_level(body: Json, rules: Rules) -> None:
    _only(body, TOP_LEVEL | rules.top_level, "")
    if body.get("model") != rules.model:
        raise MalformedError(
            f"The model `{body.get('model')}` does not exist or you do not have access to it.",
            code="model_not_found",
            status=404,
        )
    _require(isinstance(body.get("messages"), list) and bool(body["messages"]), "'messages' is empty", "messages")
    limits = [key for key in ("max_tokens", "max_completion_tokens") if key in body]
    _require(len(limits) < 2, "max_tokens and max_completion_tokens are exclusive", "max_tokens")
    for key in limits:
        _require(type(body[key]) is int and body[key] > 0, f"{key} must be a positive integer", key)
    _require(isinstance(body.get("stream", False), bool), "'stream' must be a boolean", "stream")
    if "stream_options" in body:
        _require(body.get("stream") is True, "stream_options is only allowed when stream is enabled", "stream_options")
        _only(_object(body["stream_options"], "stream_options"), {"include_usage", "include_obfuscation"}, "")
    _check_sampling(body)
    if "response_format" in body:
        _check_response_format(_object(body["response_format"], "response_format"))


def _check_sampling(body: Json) -> None:
    for key, top in (("temperature", 2), ("top_p", 1)):
        if key in body:
            _require(isinstance(body[key], int | float) and 0 <= body[key] <= top, f"{key} is out of range", key)
    if "reasoning_effort" in body:
        _require(body["reasoning_effort"] in EFFORTS, "unsupported reasoning_effort", "reasoning_effort")
    if "stop" in body:
        stops = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
        _require(1 <= len(stops) <= 4 and all(isinstance(stop, str) for stop in stops), "'stop' takes 1 to 4", "stop")
    for key, longest in (("safety_identifier", 128), ("prompt_cache_key", 64), ("user", 128)):
        if key in body:
            _require(isinstance(body[key], str) and len(body[key]) <= longest, f"{key} is too long", key)


def _check_response_format(form: Json) -> None:
    kind = form.get("type")
    _require(kind in {"text", "json_object", "json_schema"}, f"unsupported response_format {kind!r}", "response_format")
    if kind != "json_schema":
        return
    _only(form, {"type", "json_schema"}, "response_format.")
    inner = _object(form.get("json_schema"), "response_format.json_schema")
    _only(inner, {"name", "description", "schema", "strict"}, "response_format.json_schema.")
    _require(bool(TOOL_NAME.fullmatch(inner.get("name", ""))), "response_format needs a name", "response_format")
    schema = _object(inner.get("schema"), "response_format.json_schema.schema")
    if inner.get("strict"):
        for node in _objects(schema):
            if node.get("type") == "object":
                complete = set(node.get("required", ())) == set(node.get("properties", {}))
                closed = node.get("additionalProperties") is False
                _require(complete and closed, "Invalid schema for response_format: not strict", "response_format")


def _objects(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _objects(child)
    elif isinstance(value, list):
        for child in value:
            yield from _objects(child)


def _check_foreign(body: Json, rules: Rules) -> None:
    """No Anthropic word may be left anywhere but in a tool's own schema, where any property name is legal."""
    tools = [{**tool, "function": None} if isinstance(tool, dict) else tool for tool in body.get("tools", [])]
    functions = [tool.get("function") for tool in body.get("tools", []) if isinstance(tool, dict)]
    bare = [{**function, "parameters": None} for function in functions if isinstance(function, dict)]
    allowed = rules.top_level | rules.message_keys
    for node in _objects([{**body, "tools": None, "response_format": None}, tools, bare]):
        foreign = sorted((FOREIGN_KEYS - allowed).intersection(node))
        if foreign:
            raise MalformedError(f"Unrecognized request argument supplied: {foreign[0]}", code="unknown_parameter")


def _check_tools(body: Json) -> None:
    tools = body.get("tools")
    if tools is None:
        for key in ("tool_choice", "parallel_tool_calls"):
            _require(key not in body, f"'{key}' is only allowed when 'tools' are specified.", key)
        return
    _require(isinstance(tools, list) and 0 < len(tools) <= TOOLS_MAX, f"'tools' takes 1 to {TOOLS_MAX}", "tools")
    names = [_check_tool(_object(tool, f"tools[{i}]"), i) for i, tool in enumerate(tools)]
    _require(len(set(names)) == len(names), "Tool names must be unique.", "tools")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        _only(choice, {"type", "function"}, "tool_choice.")
        _require(choice.get("type") == "function", "unsupported tool_choice type", "tool_choice")
        _require(
            _object(choice.get("function"), "tool_choice.function").get("name") in names, "tool_choice: no such tool"
        )
    else:
        _require(choice in {"auto", "none", "required"}, f"unsupported tool_choice {choice!r}", "tool_choice")


def _check_tool(tool: Json, index: int) -> str:
    where = f"tools[{index}]"
    _only(tool, {"type", "function"}, f"{where}.")
    _require(tool.get("type") == "function", f"Invalid value for '{where}.type'", where)
    function = _object(tool.get("function"), f"{where}.function")
    _only(function, {"name", "description", "parameters", "strict"}, f"{where}.function.")
    name = function.get("name")
    _require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{where}.function.name': {name!r}")
    _require(isinstance(function.get("description", ""), str), f"{where}.function.description must be a string")
    parameters = _object(function.get("parameters", {"type": "object"}), f"{where}.function.parameters")
    _require(parameters.get("type") == "object", f"Invalid schema for function {name!r}: type must be 'object'", where)
    _require(isinstance(parameters.get("properties", {}), dict), f"Invalid schema for function {name!r}", where)
    return cast(str, name)


def _check_messages(messages: list[Any], rules: Rules) -> None:
    pending: list[str] = []
    for index, item in enumerate(messages):
        message = _object(item, f"messages[{index}]")
        role = message.get("role")
        _require(role in MESSAGE_KEYS, f"Invalid value: '{role}' at messages[{index}].role", f"messages[{index}].role")
        _only(message, MESSAGE_KEYS[cast(str, role)] | rules.message_keys, f"messages[{index}].")
        if role == "tool":
            identity = message.get("tool_call_id")
            _require(
                identity in pending,
                f"messages[{index}]: role 'tool' must be a response to a preceding message with 'tool_calls'.",
            )
            pending.remove(cast(str, identity))
        else:
            _require(
                not pending,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(pending)}",
            )
        if role in {"system", "developer"}:
            _require(rules.mid_system or index == 0, "System message must be at the beginning.", f"messages[{index}]")
        if role == "assistant":
            pending = _check_calls(message, f"messages[{index}]")
        _check_content(message, f"messages[{index}]", rules)
    _require(not pending, f"tool_call_ids did not have response messages: {', '.join(pending)}")


def _check_calls(message: Json, where: str) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return []
    _require(isinstance(calls, list) and bool(calls), f"Invalid '{where}.tool_calls': empty array")
    for index, item in enumerate(calls):
        here = f"{where}.tool_calls[{index}]"
        call = _object(item, here)
        _only(call, {"id", "type", "function"}, f"{here}.")
        _require(call.get("type") == "function", f"Invalid value for '{here}.type'")
        identity = call.get("id")
        legal = isinstance(identity, str) and 0 < len(identity) <= TOOL_ID_MAX
        _require(legal, f"Invalid '{here}.id': expected a string with maximum length {TOOL_ID_MAX}")
        function = _object(call.get("function"), f"{here}.function")
        _only(function, {"name", "arguments"}, f"{here}.function.")
        name = function.get("name")
        _require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{here}.function.name': {name!r}")
        _check_arguments(function.get("arguments"), f"{here}.function.arguments")
    ids = [call["id"] for call in calls]
    _require(len(set(ids)) == len(ids), f"Duplicate ids in '{where}.tool_calls'")
    return ids


def _check_arguments(arguments: Any, where: str) -> None:
    _require(isinstance(arguments, str), f"Invalid type for '{where}': expected a string")
    try:
        value = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise MalformedError(f"Invalid '{where}': not JSON ({error})") from error
    _require(isinstance(value, dict), f"Invalid '{where}': not a JSON object")


def _check_content(message: Json, where: str, rules: Rules) -> None:
    role, content = message["role"], message.get("content")
    if content is None:
        _require(role == "assistant" and "tool_calls" in message, f"Invalid '{where}.content': null")
    elif isinstance(content, str):
        _require(bool(content) or "tool_calls" in message, f"Invalid '{where}.content': empty string")
    else:
        _require(isinstance(content, list) and bool(content), f"Invalid '{where}.content': empty array")
        for index, part in enumerate(content):
            _check_part(_object(part, f"{where}.content[{index}]"), f"{where}.content[{index}]", role, rules)


def _check_part(part: Json, where: str, role: str, rules: Rules) -> None:
    kind = part.get("type")
    _require(kind in PART_TYPES[role], f"Invalid content type at {where}: '{kind}' in a message of role '{role}'")
    if kind == "text":
        _only(part, {"type", "text", "prompt_cache_breakpoint"}, f"{where}.")
        _require(isinstance(part.get("text"), str) and bool(part["text"]), f"Invalid '{where}.text': empty string")
    elif kind == "image_url":
        _require(rules.images, f"Invalid content type at {where}: this model does not support image input")
        _only(part, {"type", "image_url", "prompt_cache_breakpoint"}, f"{where}.")
        image = _object(part.get("image_url"), f"{where}.image_url")
        _only(image, {"url", "detail"}, f"{where}.image_url.")
        _check_data(image.get("url", ""), IMAGE_URL, f"{where}.image_url.url")
    elif kind == "file":
        _only(part, {"type", "file", "prompt_cache_breakpoint"}, f"{where}.")
        file = _object(part.get("file"), f"{where}.file")
        _only(file, {"file_data", "file_id", "filename"}, f"{where}.file.")
        _check_data(file.get("file_data", ""), FILE_URL, f"{where}.file.file_data")


def _check_data(url: str, form: re.Pattern[str], where: str) -> None:
    if url.startswith(("http://", "https://")):
        return
    match = form.fullmatch(url)
    _require(match is not None, f"Invalid '{where}': expected a data URL, got {url[:40]!r}")
    try:
        decoded = base64.b64decode(cast(re.Match[str], match).group(1), validate=True)
    except binascii.Error as error:
        raise MalformedError(f"Invalid '{where}': not base64") from error
    _require(bool(decoded), f"Invalid '{where}': no data")
