"""The rules of an unforgiving Anthropic Messages server.

The vocabulary comes from the official `anthropic` SDK's own types; what is not in them is refused in the API's words.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from anthropic.types import beta
from anthropic.types.beta import message_create_params as spec

from tests.scenarios.checking import Json, MalformedError, check_base64, objects
from tests.scenarios.ledger import Ledger

_HEADERS = frozenset({"betas", "user_profile_id", "workspace_id"})
SAMPLING = frozenset({"temperature", "top_p", "top_k"})
TOP_LEVEL = frozenset(spec.MessageCreateParamsBase.__annotations__) - _HEADERS | SAMPLING | {"stream"}
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
BUDGET_MIN = 1024
CACHE_MARKS_MAX = 4
CHOICES: Mapping[str, frozenset[str]] = {
    "auto": frozenset({"type", "disable_parallel_tool_use"}),
    "any": frozenset({"type", "disable_parallel_tool_use"}),
    "tool": frozenset({"type", "name", "disable_parallel_tool_use"}),
    "none": frozenset({"type"}),
}
THINKING: Mapping[str, frozenset[str]] = {
    "adaptive": frozenset({"type", "display", "block_binding"}),
    "enabled": frozenset({"type", "budget_tokens", "display", "block_binding"}),
    "disabled": frozenset({"type"}),
    "between_tools": frozenset({"type"}),
}
ASSISTANT = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "compaction", "fallback"})
USER = frozenset({"text", "image", "document", "search_result", "tool_result"})
SYSTEM = frozenset({"text", "tool_addition", "tool_removal"})
BLOCKS: Mapping[str, frozenset[str]] = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM}
RESULT_BLOCKS = frozenset({"text", "image", "document", "search_result", "tool_reference"})


@dataclass(frozen=True)
class MessagesRules:
    """What one scripted upstream accepts beyond the specification, or does not take of it."""

    model: str = "m"
    any_field: bool = False
    top_level: frozenset[str] = frozenset()
    mid_system: bool = True
    images: bool = True
    signed: bool = True
    """Whether thinking has to come back with the signature it was given."""

    def check(self, body: Json, headers: Mapping[str, str], ledger: Ledger) -> None:
        """Raise `MalformedError` for the first rule that `body` breaks."""
        if not any(name.lower() == "anthropic-version" for name in headers):
            raise _wrong("anthropic-version: header is required")
        _check_top_level(body, self)
        _check_tools(body)
        _check_system(body.get("system"))
        _check_messages(body, self, ledger)
        marks = sum("cache_control" in node for node in objects({**body, "tools": _bare(body.get("tools"))}))
        if marks > CACHE_MARKS_MAX:
            raise _wrong(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def _wrong(message: str) -> MalformedError:
    return MalformedError(message, code="invalid_request_error")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _wrong(message)


def _only(found: Json, allowed: frozenset[str], where: str) -> None:
    for key in sorted(set(found) - allowed):
        raise _wrong(f"{where}{key}: Extra inputs are not permitted")


def _a_dict(value: Any, where: str) -> Json:
    _require(isinstance(value, dict), f"{where}: Input should be a valid dictionary")
    return dict(value)


def _bare(tools: Any) -> list[Json]:
    """Tools without their schemas, where any property name is legal."""
    return [{**tool, "input_schema": None} for tool in tools or ()]


@cache
def block_keys() -> Mapping[str, frozenset[str]]:
    """The fields of each type of block, from the SDK's types."""
    kinds = {}
    for block in _members(beta.BetaContentBlockParam):
        fields = get_type_hints(block) if hasattr(block, "__total__") else {}
        for kind in get_args(fields.get("type")):
            kinds[str(kind)] = frozenset(fields)
    return {**kinds, "tool_reference": frozenset(get_type_hints(beta.BetaToolReferenceBlockParam))}


@cache
def _message_keys(role: str) -> frozenset[str]:
    kinds = {"user": beta.BetaUserMessageParam, "assistant": beta.BetaAssistantMessageParam}
    return frozenset(get_type_hints(kinds.get(role, beta.BetaSystemMessageParam)))


def _members(union: Any) -> Iterator[Any]:
    for member in get_args(union):
        yield from _members(member) if get_origin(member) else (member,)


def _check_top_level(body: Json, rules: MessagesRules) -> None:
    if not rules.any_field:
        _only(body, TOP_LEVEL | rules.top_level, "")
    if body.get("model") != rules.model:
        raise MalformedError(f"model: {body.get('model')}", code="not_found_error", status=404)
    limit = body.get("max_tokens")
    _require(type(limit) is int and limit >= 1, "max_tokens: Field required")
    _require(isinstance(body.get("stream", False), bool), "stream: Input should be a valid boolean")
    stops = body.get("stop_sequences") or []
    legal = all(isinstance(stop, str) and stop.strip() for stop in stops)
    _require(legal, "stop_sequences: each stop sequence must contain non-whitespace")
    for key in ("temperature", "top_p"):
        _require(0 <= body.get(key, 0) <= 1, f"{key}: range: 0..1")
    _only(_a_dict(body.get("metadata", {}), "metadata"), frozenset({"user_id"}), "metadata.")
    config = _a_dict(body.get("output_config", {}), "output_config")
    _only(config, frozenset({"effort", "format", "task_budget"}), "output_config.")
    efforts = {None, "low", "medium", "high", "xhigh", "max"}
    _require(config.get("effort") in efforts, "output_config.effort: Input should be 'low', 'medium' or 'high'")
    _check_thinking(body)


def _check_thinking(body: Json) -> None:
    if "thinking" not in body:
        return
    thinking = _a_dict(body["thinking"], "thinking")
    kind = str(thinking.get("type"))
    _require(kind in THINKING, f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected")
    _only(thinking, THINKING[kind], f"thinking.{kind}.")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        legal = type(budget) is int and budget >= BUDGET_MIN
        _require(legal, f"thinking.enabled.budget_tokens: Input should be greater than or equal to {BUDGET_MIN}")
        _require((budget or 0) < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`")


def _check_tools(body: Json) -> None:
    names = []
    for place, entry in enumerate(body.get("tools") or ()):
        where = f"tools.{place}"
        tool = _a_dict(entry, where)
        name = tool.get("name")
        _require(
            isinstance(name, str) and bool(TOOL_NAME.fullmatch(name)), f"{where}.name: String should match pattern"
        )
        if tool.get("type", "custom") in {"custom", None}:
            keys = frozenset(get_type_hints(beta.BetaToolParam))
            _only(tool, keys, f"{where}.custom.")
            schema = _a_dict(tool.get("input_schema"), f"{where}.custom.input_schema")
            _require(schema.get("type") == "object", f"{where}.custom.input_schema.type: Input should be 'object'")
        names.append(name)
    _require(len(set(names)) == len(names), "tools: Tool names must be unique.")
    if "tool_choice" not in body:
        return
    choice = _a_dict(body["tool_choice"], "tool_choice")
    kind = str(choice.get("type"))
    _require(bool(names), "tool_choice: may only be specified while providing tools")
    _require(kind in CHOICES, f"tool_choice: Input tag '{kind}' does not match any of the expected tags")
    _only(choice, CHOICES[kind], f"tool_choice.{kind}.")
    _require(kind != "tool" or choice.get("name") in names, "tool_choice: Tool not found in provided tools")


def _check_system(system: Any) -> None:
    for place, block in enumerate([] if isinstance(system, str | None) else system):
        _check_block(block, f"system.{place}", frozenset({"text"}))


def _check_messages(body: Json, rules: MessagesRules, ledger: Ledger) -> None:
    messages = body.get("messages")
    _require(isinstance(messages, list) and bool(messages), "messages: at least one message is required")
    pending: list[str] = []
    for place, entry in enumerate(messages or ()):
        where = f"messages.{place}"
        message = _a_dict(entry, where)
        role = str(message.get("role"))
        _only(message, _message_keys(role), f"{where}.")
        _require(role in ("user", "assistant") or rules.mid_system, f"{where}: role '{role}' is not supported")
        _require(role in BLOCKS, f"{where}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(message.get("content"), where)
        for number, block in enumerate(blocks):
            _check_block(block, f"{where}.content.{number}", BLOCKS[role], rules)
        if role == "system":
            continue
        _check_results(blocks, pending, where)
        pending = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if role == "assistant":
            _check_thoughts(body, blocks, where, rules, ledger)
    _check_answered(pending, "messages")


def _blocks(content: Any, where: str) -> list[Json]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    _require(isinstance(blocks, list) and bool(blocks), f"{where}: all messages must have non-empty content")
    return list(blocks)


def _check_answered(pending: list[str], where: str) -> None:
    _require(
        not pending,
        f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(pending)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
    )


def _check_results(blocks: list[Json], pending: list[str], where: str) -> None:
    left = list(pending)
    for place, block in enumerate(blocks):
        if block["type"] == "tool_result":
            identity = block["tool_use_id"]
            unexpected = f"{where}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {identity}"
            _require(identity in left, unexpected)
            left.remove(identity)
            _require(place == 0 or blocks[place - 1]["type"] == "tool_result", f"{where}: `tool_result` comes first")
    _check_answered(left, where)


def _check_block(block: Any, where: str, allowed: frozenset[str], rules: MessagesRules = MessagesRules()) -> None:
    block = _a_dict(block, where)
    kind = str(block.get("type"))
    _require(kind in allowed, f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    _only(block, block_keys()[kind], f"{where}.{kind}.")
    if kind == "text":
        _require(bool(str(block.get("text") or "").strip()), f"{where}.text: text content blocks must be non-empty")
    elif kind == "image":
        _require(rules.images, f"{where}: this model does not support image input")
        source = _a_dict(block.get("source"), f"{where}.image.source")
        if source.get("type") == "base64":
            legal = source.get("media_type") in {"image/png", "image/jpeg", "image/gif", "image/webp"}
            _require(legal, f"{where}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', …")
            check_base64(source.get("data", ""), where)
    elif kind == "tool_use":
        _require(bool(TOOL_ID.fullmatch(str(block.get("id")))), f"{where}.tool_use.id: String should match pattern")
        _a_dict(block.get("input"), f"{where}.tool_use.input")
    elif kind == "tool_result":
        content = block.get("content") or []
        for place, inner in enumerate([] if isinstance(content, str) else content):
            _check_block(inner, f"{where}.tool_result.content.{place}", RESULT_BLOCKS, rules)


def _check_thoughts(body: Json, blocks: list[Json], where: str, rules: MessagesRules, ledger: Ledger) -> None:
    for place, block in enumerate(blocks):
        if block["type"] == "thinking":
            said = ledger.reasoning.get(block.get("signature", ""))
            unsigned = not rules.signed and block.get("thinking") in ledger.thoughts
            own = unsigned or (said is not None and said.reasoning == block.get("thinking"))
            _require(own, f"{where}.content.{place}: Invalid `signature` in `thinking` block")
    if body.get("thinking", {}).get("type") in {None, "disabled"}:
        return
    thought = any(block["type"] in {"thinking", "redacted_thinking"} for block in blocks)
    for block in blocks:
        lost = block["type"] == "tool_use" and block["id"] in ledger.calls and ledger.calls[block["id"]].reasoning
        expected = "Expected `thinking` or `redacted_thinking`, but found `tool_use`"
        _require(thought or not lost, f"{where}.content.0.type: {expected}: {json.dumps(block.get('id'))}")
