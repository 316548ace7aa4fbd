"""A client's request, parsed: https://docs.anthropic.com/en/api/messages.

Parsing is lenient where a newer client may know more than Latimer (unknown fields, blocks and roles), and strict where
a wrong value would make the model answer another question.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.dialects.client_tools import Published, choose, is_client_tool, publish, refuse_conflicts
from latimer.errors import invalid
from latimer.events import Member
from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE, mend_surrogates

from .admit import admit, admit_block

NEW_VERSION = "2026-10-21"
OLD_VERSION = "2023-06-01"
SAMPLING = ("temperature", "top_p", "top_k")
THINKING_TYPES = frozenset({"adaptive", "enabled", "disabled", "between_tools"})
MAX_MARKS = 4
"""Cache marks in one request: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching."""
_TOOLSET = b"_toolset_"
BILLING_HEADER = "x-anthropic-billing-header:"

_known: json.Decoder[wire.KnownMessage] = json.Decoder(wire.KnownMessage)
_EFFORTS: dict[str, wire.Effort] = {effort: effort for effort in get_args(wire.Effort)}
Role = Literal["user", "assistant", "system"]


class Message(Struct, frozen=True):
    """One message; string content is one text block. `index` is its place in the client's array, for paths."""

    index: int
    role: Role
    blocks: list[wire.RequestBlock]
    effort: wire.Effort | None = None
    clear_at: str | None = None

    def path(self, block: int) -> str:
        """Where a block stands in the client's request."""
        return f"messages.{self.index}.content.{block}"


class AppliedEdit(Struct, frozen=True, omit_defaults=True):
    """One edit of the context, in the answer's words."""

    type: str
    cleared_input_tokens: int
    cleared_tool_uses: int = 0
    cleared_thinking_turns: int = 0


class Compact(Struct, frozen=True):
    """A compaction that is due, as the edit at `path` asks; `pause`: the summary is the whole answer."""

    path: str
    instructions: str | None
    pause: bool


class Compacted(Struct, frozen=True):
    """A compaction that was done in this request, and what it took, in the answer's words."""

    summary: str
    usage: dict[str, Any]


class Request(Struct, frozen=True):
    """A parsed request. `body` has the plain fields; the others are its parsed subtrees."""

    body: wire.RequestBody
    version: str
    system: list[wire.TextBlock]
    messages: list[Message]
    tools: list[wire.Tool]
    tool_choice: wire.ToolChoice | None
    thinking: wire.Thinking | None
    output_config: wire.OutputConfig
    user_id: str | None
    losses: list[Loss]
    betas: frozenset[str] = frozenset()
    members: dict[str, Member] = {}
    """The functions that stand for members of toolsets."""
    tool_paths: dict[str, str] = {}
    """Where each function stands in the client's request."""
    session: str = ""
    """The session's id in the headers, which counts where `metadata.user_id` has none."""
    agent: str = ""
    """The subagent that asks; '' for the main conversation."""
    applied_edits: tuple[AppliedEdit, ...] | None = None
    """What `context_management` has done to this request (`latimer.dialects.messages.edits`); None: nobody tried."""
    compact: Compact | None = None
    compacted: Compacted | None = None

    @property
    def asker(self) -> str:
        """Whose request it is: the session, subagents with it, else the user; '' where nothing names either."""
        return session_id(self.user_id) or self.session or self.user_id or ""

    @property
    def session_key(self) -> str:
        """A hash that is the same for every request of one conversation, '' where nothing names it.

        A subagent has a prompt of its own, so its requests share no prefix with those of the conversation around it.
        """
        session = session_id(self.user_id) or self.session
        name = f"{session}/{self.agent}" if self.agent else session
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32] if session else ""

    @property
    def hides_thinking(self) -> bool:
        """Whether the client wants thinking blocks without their text (`display: omitted`)."""
        return self.thinking is not None and self.thinking.display == "omitted"

    @property
    def effort(self) -> wire.Effort | None:
        """The effort of the whole request; a message may have one of its own."""
        return _EFFORTS.get(self.output_config.effort or "")

    @property
    def one_call(self) -> bool:
        """Whether at most one tool call is allowed."""
        return self.tool_choice is not None and bool(self.tool_choice.disable_parallel_tool_use)

    @property
    def tool_call_ids(self) -> frozenset[str]:
        """Ids of every tool call in the conversation so far."""
        blocks = (block for message in self.messages for block in message.blocks)
        return frozenset(block.id for block in blocks if isinstance(block, wire.ToolUseBlock))


def decode_request(raw: bytes, version: str = OLD_VERSION, betas: frozenset[str] = frozenset()) -> Request:
    """Parse the body of `POST /v1/messages`. Raises `Rejection` with a 400 that names the field at fault."""
    return _decode(raw, version, wire.RequestBody, betas)


def decode_count_request(raw: bytes, version: str = OLD_VERSION) -> Request:
    """Parse the body of `POST /v1/messages/count_tokens`, which has no `max_tokens`. Raises `Rejection`."""
    return _decode(raw, version, wire.CountBody)


def _decode(raw: bytes, version: str, kind: type[wire.RequestBody], betas: frozenset[str] = frozenset()) -> Request:
    losses: list[Loss] = []
    _check_utf8(raw)
    body = admit(mend_surrogates(raw), kind, "", losses)
    _check_body(body, version)
    messages = [_message(item, index, losses) for index, item in enumerate(body.messages)]
    published = [decode_tool(item, f"tools.{index}", losses) for index, item in enumerate(body.tools or [])]
    refuse_conflicts(published)
    members = _members(published, messages)
    choice = _optional(body.tool_choice, wire.ToolChoice, "tool_choice", losses)
    request = Request(
        body=body,
        version=version,
        system=_system(body.system, losses),
        messages=messages,
        tools=[tool for each in published for tool in each.tools],
        tool_choice=choose(choice, members, losses) if choice and choice.type == "tool" and members else choice,
        thinking=_thinking(body, losses),
        output_config=_output_config(body, losses),
        user_id=_user_id(body.metadata, losses),
        losses=losses,
        betas=betas,
        members=members,
        tool_paths=_tool_paths(published),
    )
    _check_request(request)
    return request


def _check_utf8(raw: bytes) -> None:
    """Subtrees that stay raw are never decoded here, so nothing else would notice."""
    if raw.isascii():
        return
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"request body: not valid UTF-8: {error}") from error


def _optional(raw: Raw, kind: type[Any], path: str, losses: list[Loss]) -> Any:
    return admit(raw, kind, path, losses) if wire.given(raw) else None


def _system(system: str | list[Raw] | None, losses: list[Loss]) -> list[wire.TextBlock]:
    """The system prompt's blocks, each in its place, without Claude Code's billing line, which no model should read.

    The line changes from session to session, so it would also defeat an upstream's prefix cache from the first token.
    """
    if isinstance(system, str):
        blocks = [wire.TextBlock(system)]
    else:
        blocks = [admit(raw, wire.TextBlock, f"system.{i}", losses) for i, raw in enumerate(system or [])]
    return [replace(b, text=unbilled(b.text)) if b.text.startswith(BILLING_HEADER) else b for b in blocks]


def unbilled(text: str) -> str:
    """What follows the billing line: nothing where it has a block of its own."""
    return text.partition("\n")[2].lstrip("\n")


def _message(raw: Raw, index: int, losses: list[Loss]) -> Message:
    path = f"messages.{index}"
    message = _known_message(raw) or admit(raw, wire.InputMessage, path, losses)
    role: Role
    match message.role:
        case "user" | "assistant" | "system":
            role = message.role
        case _:
            losses.append(Loss(f"{path}.role", "approximated", "unknown role, read as a user message"))
            role = "user"
    effort = _effort(message, path, losses) if wire.given(message.output_config) else None
    return Message(index, role, _blocks(message, path, losses), effort, message.clear_at)


def _known_message(raw: Raw) -> wire.KnownMessage | None:
    """The message, if there is nothing in it that Latimer does not know, as in nearly all."""
    try:
        return _known.decode(raw)
    except UNREADABLE:
        return None


def _blocks(message: wire.InputMessage | wire.KnownMessage, path: str, losses: list[Loss]) -> list[wire.RequestBlock]:
    if isinstance(message.content, str):
        return [wire.TextBlock(message.content)]
    if isinstance(message, wire.KnownMessage):
        return [*message.content]
    return [admit_block(item, f"{path}.content.{j}", losses) for j, item in enumerate(message.content)]


def decode_tool(raw: Raw, path: str, losses: list[Loss]) -> Published:
    """An entry of `tools`; Anthropic's own client tools as the functions that stand for them."""
    own: list[Loss] = []
    tool = admit(raw, wire.Tool, path, own)
    if is_client_tool(tool.type):
        return publish(admit(raw, wire.ClientTool, path, losses), path, losses)
    if tool.type and tool.type.startswith(wire.SERVER_TOOLS):
        return Published([admit(raw, wire.ServerTool, path, losses)])
    losses += own
    return Published([tool])


def _tool_paths(published: list[Published]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for index, each in enumerate(published):
        for tool in each.tools:
            member = each.members.get(tool.name) if each.members else None
            paths[tool.name] = f"tools.{index}.configs.{member.name}" if member else f"tools.{index}"
    return paths


def _members(published: list[Published], messages: list[Message]) -> dict[str, Member]:
    """The members of all toolsets, those that the conversation brings in included."""
    added = [
        decode_tool(Raw(json.encode(definition)), "", [])
        for message in messages
        for block in message.blocks
        if isinstance(block, wire.UnknownBlock) and block.type == "tool_addition" and _TOOLSET in block.raw
        for definition in [_definition(json.decode(block.raw))]
        if definition is not None
    ]
    return {name: member for each in (*published, *added) for name, member in each.members.items()}


def _definition(change: Any) -> Any:
    match change:
        case {"tool": {"definition": dict(definition)}}:
            return definition
        case _:
            return None


def _effort(message: wire.InputMessage | wire.KnownMessage, path: str, losses: list[Loss]) -> wire.Effort | None:
    config = _optional(message.output_config, wire.OutputConfig, f"{path}.output_config", losses)
    if config and config.format:
        losses.append(Loss(f"{path}.output_config.format", "dropped", "only the request's own format counts"))
    if config is None:
        return None
    _report_effort(config.effort, f"{path}.output_config.effort", losses)
    return known_effort(config.effort)


def known_effort(word: str | None) -> wire.Effort | None:
    """The effort that a word stands for, None for one that only a newer client knows."""
    return _EFFORTS.get(word or "")


def _report_effort(word: str | None, path: str, losses: list[Loss]) -> None:
    if word is not None and known_effort(word) is None:
        losses.append(Loss(path, "dropped", f"Latimer does not know the effort {word!r}"))


def _thinking(body: wire.RequestBody, losses: list[Loss]) -> wire.Thinking | None:
    thinking: wire.Thinking | None = _optional(body.thinking, wire.Thinking, "thinking", losses)
    if thinking and thinking.type not in THINKING_TYPES:
        losses.append(Loss("thinking.type", "approximated", f"{thinking.type!r} is not known, read as adaptive"))
        return replace(thinking, type="adaptive")
    return thinking


def _output_config(body: wire.RequestBody, losses: list[Loss]) -> wire.OutputConfig:
    config: wire.OutputConfig = (
        _optional(body.output_config, wire.OutputConfig, "output_config", losses) or wire.OutputConfig()
    )
    legacy = _optional(body.output_format, wire.OutputFormat, "output_format", losses)
    if legacy and config.format:
        raise invalid("output_format: cannot be given together with output_config.format")
    _report_effort(config.effort, "output_config.effort", losses)
    return wire.OutputConfig(config.effort, config.format or legacy, config.task_budget)


def _user_id(metadata: Raw, losses: list[Loss]) -> str | None:
    parsed = _optional(metadata, wire.Metadata, "metadata", losses)
    return parsed.user_id if parsed else None


def session_id(user_id: str | None) -> str | None:
    """The session in `metadata.user_id`, which Claude Code fills with a JSON string (measured, 2.1.330)."""
    try:
        parsed = json.decode(user_id or "")
    except UNREADABLE:
        return None
    session = parsed.get("session_id") if isinstance(parsed, dict) else None
    return session if isinstance(session, str) else None


def _check_body(body: wire.RequestBody, version: str) -> None:
    if version not in (OLD_VERSION, NEW_VERSION):
        raise invalid(f"anthropic-version: {version!r} is not a valid version; use {NEW_VERSION} or {OLD_VERSION}")
    if not body.model:
        raise invalid("model: String should have at least 1 character")
    if body.max_tokens < 0:
        raise invalid("max_tokens: must be greater than or equal to 0")
    if not body.messages:
        raise invalid("messages: at least one message is required")
    if version == NEW_VERSION:
        for name in SAMPLING:
            if getattr(body, name) is not None:
                raise invalid(f"{name}: Extra inputs are not permitted with anthropic-version {NEW_VERSION}")


def _check_request(request: Request) -> None:
    choice = request.tool_choice
    if choice and choice.type == "tool" and choice.name not in {tool.name for tool in request.tools}:
        raise invalid(f"tool_choice.name: tool {choice.name!r} not found in tools")
    if choice and choice.type in ("any", "tool") and not request.tools:
        raise invalid("tool_choice: may only be specified while providing tools")
    _check_marks(request)
    _check_tool_changes(request)
    if request.version == NEW_VERSION:
        _check_new_version(request)


def _check_marks(request: Request) -> None:
    """Marks inside a tool result's content count as one with the result's own, as which they are sent."""
    blocks: list[Any] = [*request.tools, *request.system, *(b for message in request.messages for b in message.blocks)]
    marks = [request.body.cache_control, *[getattr(block, "cache_control", wire.NULL) for block in blocks]]
    if (count := sum([mark is not wire.NULL and wire.given(mark) for mark in marks])) > MAX_MARKS:
        raise invalid(f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {count}.")


class _Named(Struct):
    name: str = ""
    type: str | None = None


def _check_tool_changes(request: Request) -> None:
    """A change of the tool list in mid-conversation must speak of tools that are defined by then."""
    changes = [
        (message.path(place), block)
        for message in request.messages
        for place, block in enumerate(message.blocks)
        if isinstance(block, wire.UnknownBlock) and block.type in ("tool_addition", "tool_removal")
    ]
    if not changes:
        return
    given = [json.decode(raw, type=_Named) for raw in request.body.tools or ()]
    kinds = {tool.name: "custom" for tool in request.tools} | {tool.name: tool.type or "custom" for tool in given}
    kinds |= {member.toolset: "custom" for member in request.members.values()}
    for path, block in changes:
        _check_tool_change(json.decode(block.raw), f"{path}.tool", kinds)


def _check_tool_change(change: dict[str, Any], path: str, kinds: dict[str, str]) -> None:
    match change.get("tool"):
        case {"type": "tool_definition", "definition": dict(definition)} if change["type"] == "tool_addition":
            name, kind = str(definition.get("name", "")), str(definition.get("type") or "custom")
            if kinds.setdefault(name, kind) != kind:
                message = f"{path}.definition.name: {name!r} is a tool of another kind already"
                raise invalid(message, error_code="tool_name_conflict")
        case {"type": "tool_reference", "name": str(name)} if name in kinds:
            pass
        case {"type": str(kind), **reference}:
            names = [str(value) for key, value in sorted(reference.items()) if str(key).endswith("name")]
            message = f"{path}: {kind} {'/'.join(names)!r} is not defined at this point of the conversation"
            raise invalid(message, error_code="tool_reference_unresolved")
        case _:
            raise invalid(f"{path}: Field required")


def _check_new_version(request: Request) -> None:
    """What API version 2026-10-21 no longer takes."""
    for message in request.messages:
        for place, block in enumerate(message.blocks):
            if message.role == "assistant" and isinstance(block, wire.DocumentBlock):
                raise invalid(f"{message.path(place)}: document blocks are not permitted in assistant messages")
            if message.role == "user" and isinstance(block, wire.TextBlock) and _cites(block):
                raise invalid(f"{message.path(place)}.citations: not permitted on text in user messages")


def _cites(block: wire.TextBlock) -> bool:
    return wire.given(block.citations) and bytes(block.citations) != b"[]"
