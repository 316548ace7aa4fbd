"""The rules of an unforgiving OpenAI Responses server, which keeps nothing: `store` is false or the same as false here.

The vocabulary comes from the official `openai` SDK's own types; what is not in them is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from openai.types.responses import response_create_params as spec
from openai.types.responses.response_includable import ResponseIncludable
from openai.types.shared_params.reasoning import Reasoning

from tests.scenarios.checking import (
    FILE_URL,
    IMAGE_URL,
    TOOL_NAME,
    Json,
    MalformedError,
    a_list,
    a_text,
    an_object,
    check_arguments,
    check_model,
    check_url,
    objects,
    only,
    require,
)
from tests.scenarios.ledger import Ledger
from tests.scenarios.rules import EFFORTS

TOP_LEVEL = frozenset(spec.ResponseCreateParamsBase.__annotations__) | {"stream"}
INCLUDABLE = frozenset(get_args(ResponseIncludable))
OUTPUT_MIN = 16
CALL_ID_MAX = 64

ITEM_KEYS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "id", "role", "content", "status", "phase"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "function_call": frozenset({"type", "id", "call_id", "name", "arguments", "status"}),
    "function_call_output": frozenset({"type", "id", "call_id", "output", "status"}),
}
PART_KEYS: Mapping[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "input_image": frozenset({"type", "image_url", "detail", "file_id", "prompt_cache_breakpoint"}),
    "input_file": frozenset({"type", "file_data", "file_url", "file_id", "filename", "prompt_cache_breakpoint"}),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
}
PART_TYPES: Mapping[str, frozenset[str]] = {
    "system": frozenset({"input_text"}),
    "developer": frozenset({"input_text"}),
    "user": frozenset({"input_text", "input_image", "input_file"}),
    "assistant": frozenset({"output_text", "refusal"}),
    "output": frozenset({"input_text", "input_image", "input_file"}),
}
_TOOL_KEYS = frozenset({"type", "name", "description", "parameters", "strict", "defer_loading"})


@dataclass(frozen=True)
class ResponsesRules:
    """What one scripted upstream accepts beyond the specification."""

    model: str = "m"
    any_field: bool = False
    top_level: frozenset[str] = frozenset()
    images: bool = True
    typed: bool = False
    """Whether the input is held to the SDK's types, which want an id and a status of assistant messages, rather than
    to what the server remembers."""

    def check(self, body: Json, ledger: Ledger) -> None:
        """Raise `MalformedError` for the first rule that `body` breaks."""
        _check_top_level(body, self)
        names = _check_tools(body)
        _check_choice(body, names)
        items = body["input"]
        if not isinstance(items, str):
            _check_items([an_object(item, f"input[{place}]") for place, item in enumerate(items)], self, ledger)


def _check_top_level(body: Json, rules: ResponsesRules) -> None:
    if not rules.any_field:
        only(body, TOP_LEVEL | rules.top_level, "")
    check_model(body, rules.model)
    asked = body.get("input")
    require(bool(asked) and isinstance(asked, str | list), "Missing required parameter: 'input'.", "input")
    if "instructions" in body:
        a_text(body["instructions"], "instructions")
    if "max_output_tokens" in body:
        limit = body["max_output_tokens"]
        legal = type(limit) is int and limit >= OUTPUT_MIN
        require(legal, f"Invalid 'max_output_tokens': integer below minimum value {OUTPUT_MIN}.", "max_output_tokens")
    for key in ("stream", "store", "parallel_tool_calls"):
        require(isinstance(body.get(key, False), bool), f"Invalid type for '{key}': expected a boolean", key)
    if "stream_options" in body:
        require(body.get("stream") is True, "stream_options is only allowed when stream is enabled", "stream_options")
        only(an_object(body["stream_options"], "stream_options"), {"include_obfuscation"}, "stream_options.")
    for key, top in (("temperature", 2), ("top_p", 1)):
        require(0 <= body.get(key, 0) <= top, f"{key} is out of range", key)
    for key, longest in (("safety_identifier", 128), ("prompt_cache_key", 64), ("user", 128)):
        require(len(body.get(key, "")) <= longest, f"{key} is too long", key)
    require(set(body.get("include", ())) <= INCLUDABLE, "Invalid value for 'include'", "include")
    _check_depth(body)


def _check_depth(body: Json) -> None:
    reasoning = an_object(body.get("reasoning", {}), "reasoning")
    only(reasoning, Reasoning.__annotations__, "reasoning.")
    require(reasoning.get("effort", "low") in EFFORTS, "Invalid value for 'reasoning.effort'", "reasoning.effort")
    summaries = {"auto", "concise", "detailed"}
    require(reasoning.get("summary", "auto") in summaries, "Invalid value for 'reasoning.summary'", "reasoning.summary")
    text = an_object(body.get("text", {}), "text")
    only(text, {"format", "verbosity"}, "text.")
    form = an_object(text.get("format", {"type": "text"}), "text.format")
    only(form, {"type", "name", "schema", "strict", "description"}, "text.format.")
    require(form.get("type") in {"text", "json_object", "json_schema"}, "Invalid 'text.format.type'", "text.format")
    if form["type"] == "json_schema":
        require(bool(TOOL_NAME.fullmatch(form.get("name", ""))), "Missing 'text.format.name'", "text.format.name")
        _check_strict(an_object(form.get("schema"), "text.format.schema"), bool(form.get("strict")), "text.format")


def _check_strict(schema: Json, strict: bool, where: str) -> None:
    for node in objects(schema) if strict else ():
        if node.get("type") == "object":
            complete = set(node.get("required", ())) == set(node.get("properties", {}))
            closed = node.get("additionalProperties") is False
            require(complete and closed, f"Invalid schema for {where}: not strict", where)


def _check_tools(body: Json) -> list[str]:
    names = []
    for place, entry in enumerate(a_list(body["tools"], "tools") if "tools" in body else ()):
        where = f"tools[{place}]"
        tool = an_object(entry, where)
        require(tool.get("type") == "function", f"Invalid value: '{tool.get('type')}' at {where}.type", where)
        only(tool, _TOOL_KEYS, f"{where}.")
        name = tool.get("name")
        require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{where}.name': {name!r}", where)
        for key in ("parameters", "strict"):
            # Without `strict` the schema is taken as strict and refused for what it lacks, so nobody may leave it out.
            require(key in tool, f"Missing required parameter: '{where}.{key}'.", where)
        schema = an_object(tool["parameters"], f"{where}.parameters")
        require(schema.get("type") == "object", f"Invalid schema for function {name!r}: type must be 'object'", where)
        require(isinstance(schema.get("properties", {}), dict), f"Invalid schema for function {name!r}", where)
        _check_strict(schema, bool(tool["strict"]), f"function {name!r}")
        names.append(cast(str, name))
    require(len(set(names)) == len(names), "Tool names must be unique.", "tools")
    return names


def _check_choice(body: Json, names: list[str]) -> None:
    if not names:
        for key in ("tool_choice", "parallel_tool_calls"):
            require(key not in body, f"'{key}' is only allowed when 'tools' are specified.", key)
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        only(choice, {"type", "name"}, "tool_choice.")
        require(choice.get("type") == "function", "unsupported tool_choice type", "tool_choice")
        require(choice.get("name") in names, f"Tool choice {choice.get('name')!r} not found in 'tools'", "tool_choice")
    else:
        require(choice in {"auto", "none", "required"}, f"unsupported tool_choice {choice!r}", "tool_choice")


def _check_items(items: list[Json], rules: ResponsesRules, ledger: Ledger) -> None:
    pending: list[str] = []
    for place, item in enumerate(items):
        where = f"input[{place}]"
        kind = item.get("type", "message")
        require(kind in ITEM_KEYS, f"Invalid value: '{kind}' at {where}.type", where)
        only(item, ITEM_KEYS[kind], f"{where}.")
        if rules.typed and item.get("role") == "assistant":
            for key in ("id", "status"):
                require(bool(item.get(key)), f"Field required: '{where}.{key}'", where)
        else:
            _check_id(item, where, ledger)
        if kind == "reasoning":
            _check_reasoning(items, place, ledger)
        elif kind == "function_call":
            pending.append(_check_call(item, where))
        elif kind == "function_call_output":
            identity = item.get("call_id")
            missing = f"No tool call found for function call output with call_id {identity}."
            require(identity in pending, missing, where)
            pending.remove(cast(str, identity))
            _check_content(item.get("output"), "output", f"{where}.output", rules)
        else:
            if item.get("role") != "assistant":
                _check_answered(pending)
            _check_message(item, where, rules)
    _check_answered(pending)


def _check_answered(pending: list[str]) -> None:
    require(not pending, f"No tool output found for function call {', '.join(pending)}.", "input")


def _check_id(item: Json, where: str, ledger: Ledger) -> None:
    identity = item.get("id")
    if identity is not None and identity not in ledger.items:
        message = (
            f"Item with id '{identity}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input."
        )
        raise MalformedError(message, param=where, status=404)


def _check_reasoning(items: list[Json], place: int, ledger: Ledger) -> None:
    item, where = items[place], f"input[{place}]"
    for part in item.get("summary") if isinstance(item.get("summary"), list) else [None]:
        only(an_object(part, f"{where}.summary"), {"type", "text"}, f"{where}.summary.")
    token = item.get("encrypted_content")
    said = ledger.reasoning.get(token) if isinstance(token, str) else None
    if said is None:
        message = f"The encrypted content for item {item.get('id')} could not be verified."
        raise MalformedError(message, param=where, code="invalid_encrypted_content")
    follower = items[place + 1] if place + 1 < len(items) else {}
    own = follower.get("role") == "assistant" and bool(said.text)
    own = own or (follower.get("call_id") in {call.id for call in said.calls} and follower["type"] == "function_call")
    lonely = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
    require(own, lonely, where)


def _check_call(item: Json, where: str) -> str:
    identity, name = a_text(item.get("call_id"), f"{where}.call_id"), item.get("name")
    require(len(identity) <= CALL_ID_MAX, f"Invalid '{where}.call_id': string too long", where)
    require(isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"Invalid '{where}.name': {name!r}", where)
    check_arguments(item.get("arguments"), f"{where}.arguments")
    return identity


def _check_message(item: Json, where: str, rules: ResponsesRules) -> None:
    role = item.get("role")
    require(role in PART_TYPES and role != "output", f"Invalid value: '{role}' at {where}.role", where)
    phase = item.get("phase", "commentary")
    require(phase in {"commentary", "final_answer"}, f"Invalid value: '{phase}' at {where}.phase", where)
    require(role == "assistant" or "phase" not in item, f"Unknown parameter: '{where}.phase'.", where)
    require(bool(item.get("content")), f"Invalid '{where}.content': empty string", where)
    _check_content(item["content"], cast(str, role), f"{where}.content", rules)


def _check_content(content: Any, role: str, where: str, rules: ResponsesRules) -> None:
    if isinstance(content, str):
        return
    for place, entry in enumerate(a_list(content, where)):
        here = f"{where}[{place}]"
        part = an_object(entry, here)
        kind = part.get("type")
        allowed = " and ".join(sorted(PART_TYPES[role]))
        legal = kind in PART_TYPES[role]
        require(legal, f"Invalid content type at {here}: '{kind}'. Supported values are: {allowed}.", here)
        only(part, PART_KEYS[cast(str, kind)], f"{here}.")
        if kind in {"input_text", "output_text"}:
            a_text(part.get("text"), f"{here}.text")
        elif kind == "input_image":
            require(rules.images, f"Invalid content type at {here}: this model does not support image input")
            check_url(part.get("image_url", ""), IMAGE_URL, f"{here}.image_url")
        elif kind == "input_file":
            check_url(part.get("file_data") or part.get("file_url", ""), FILE_URL, f"{here}.file_data")
