"""Anthropic Messages, as its API reference and the official SDK's types have it, plus what Claude Code sends beyond
them.

Requests: https://docs.anthropic.com/en/api/messages. Blocks forbid unknown fields so that the parser notices them
(`latimer.dialects.messages.admit` then reports and strips them); subtrees that pass unchanged stay raw JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, field

NULL = Raw(b"null")
"""An absent raw subtree; msgspec has no optional `Raw`."""


def given(raw: Raw) -> bool:
    """Whether a raw subtree is there and not null."""
    return raw is not NULL and raw != NULL


# --- request: sources and blocks ------------------------------------------------------------------------------------


class Base64Source(Struct, frozen=True, tag="base64", forbid_unknown_fields=True):
    media_type: str
    data: str


class URLSource(Struct, frozen=True, tag="url", forbid_unknown_fields=True):
    url: str


class FileSource(Struct, frozen=True, tag="file", forbid_unknown_fields=True):
    file_id: str


class TextSource(Struct, frozen=True, tag="text", forbid_unknown_fields=True):
    data: str
    media_type: str = "text/plain"


class ContentSource(Struct, frozen=True, tag="content", forbid_unknown_fields=True):
    content: str | list[Raw]


ImageSource = Base64Source | URLSource | FileSource
DocumentSource = Base64Source | URLSource | FileSource | TextSource | ContentSource


class TextBlock(Struct, frozen=True, tag="text", forbid_unknown_fields=True):
    text: str
    cache_control: Raw = NULL
    citations: Raw = NULL


class ImageBlock(Struct, frozen=True, tag="image", forbid_unknown_fields=True):
    source: ImageSource
    cache_control: Raw = NULL
    transformations: Raw = NULL


class DocumentBlock(Struct, frozen=True, tag="document", forbid_unknown_fields=True):
    source: DocumentSource
    title: str | None = None
    context: str | None = None
    citations: Raw = NULL
    cache_control: Raw = NULL


class SearchResultBlock(Struct, frozen=True, tag="search_result", forbid_unknown_fields=True):
    content: list[Raw]
    source: str
    title: str
    citations: Raw = NULL
    cache_control: Raw = NULL


class ThinkingBlock(Struct, frozen=True, tag="thinking", forbid_unknown_fields=True):
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(Struct, frozen=True, tag="redacted_thinking", forbid_unknown_fields=True):
    data: str


class ToolUseBlock(Struct, frozen=True, tag="tool_use", forbid_unknown_fields=True):
    id: str
    name: str
    input: Raw
    cache_control: Raw = NULL
    caller: Raw = NULL
    toolset_name: str | None = None


class ToolResultBlock(Struct, frozen=True, tag="tool_result", forbid_unknown_fields=True):
    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool | None = None
    cache_control: Raw = NULL
    toolset_name: str | None = None


class ToolReferenceBlock(Struct, frozen=True, tag="tool_reference", forbid_unknown_fields=True):
    tool_name: str
    cache_control: Raw = NULL


class UnknownBlock(Struct, frozen=True):
    """A block of a type that this version has no word for."""

    type: str
    raw: bytes


KnownBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ToolReferenceBlock
)
RequestBlock = KnownBlock | UnknownBlock

# --- request: top level ---------------------------------------------------------------------------------------------


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    user_id: str | None = None


class ToolChoice(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None
    block_binding: Raw = NULL


class OutputFormat(Struct, frozen=True, forbid_unknown_fields=True):
    schema: Raw
    type: Literal["json_schema"] = "json_schema"


Effort = Literal["low", "medium", "high", "xhigh", "max"]


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    effort: str | None = None
    format: OutputFormat | None = None
    task_budget: Raw = NULL


class Tool(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool the client runs itself. Types other than `custom` are Anthropic's own tools."""

    name: str = ""
    input_schema: Raw = Raw(b'{"type":"object","properties":{}}')
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: Raw = NULL
    allowed_callers: list[str] | None = None
    cache_control: Raw = NULL


class MemberConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one member of a toolset."""

    enabled: bool | None = None
    defer_loading: bool | None = None


class ClientTool(Tool, frozen=True, forbid_unknown_fields=True):
    """A tool of Anthropic's own that the client runs: shell, editor, memory, computer and browser."""

    max_characters: int | None = None
    display_width_px: int | None = None
    display_height_px: int | None = None
    display_number: int | None = None
    enable_zoom: bool | None = None
    configs: dict[str, MemberConfig | None] | None = None


class UserLocation(Struct, frozen=True):
    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


class ServerTool(Tool, frozen=True, forbid_unknown_fields=True):
    """A tool that the server runs: web search, web fetch, and the search for deferred tools."""

    max_uses: int | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    user_location: UserLocation | None = None
    max_content_tokens: int | None = None
    citations: Raw = NULL
    url_sources: Raw = NULL
    use_cache: bool | None = None
    response_inclusion: str | None = None


SERVER_TOOLS = ("web_search_", "web_fetch_", "tool_search_tool_")
"""How the types of `ServerTool` begin; a date follows."""


class Threshold(Struct, frozen=True, forbid_unknown_fields=True):
    """So many tokens of the prompt, or so many tool uses."""

    type: Literal["input_tokens", "tool_uses"]
    value: Annotated[int, Meta(ge=0)]


class KeptThinking(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["all", "thinking_turns"]
    value: Annotated[int, Meta(ge=1)] = 1


class ClearThinking(Struct, frozen=True, tag="clear_thinking_20251015", forbid_unknown_fields=True):
    keep: KeptThinking | Literal["all"] = KeptThinking("thinking_turns")


class ClearToolUses(Struct, frozen=True, tag="clear_tool_uses_20250919", forbid_unknown_fields=True):
    trigger: Threshold = Threshold("input_tokens", 100_000)
    keep: Threshold = Threshold("tool_uses", 3)
    clear_at_least: Threshold | None = None
    exclude_tools: list[str] | None = None
    clear_tool_inputs: bool | list[str] | None = None


class PromptSize(Struct, frozen=True, forbid_unknown_fields=True):
    """So many tokens of the prompt."""

    type: Literal["input_tokens"]
    value: Annotated[int, Meta(ge=0)]


class Compact(Struct, frozen=True, tag="compact_20260112", forbid_unknown_fields=True):
    trigger: PromptSize | None = None
    instructions: str | None = None
    pause_after_compaction: bool = False


class ContextManagement(Struct, frozen=True, forbid_unknown_fields=True):
    edits: list[Raw] = []


class InputMessage(Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str | list[Raw] = ""
    output_config: Raw = NULL
    clear_at: str | None = None


class KnownMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """An `InputMessage` in which every block is known: one decoding for all of it."""

    role: str
    content: str | list[KnownBlock] = ""
    output_config: Raw = NULL
    clear_at: str | None = None


class RequestBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every top-level field of the official SDK's stable and beta request, and Claude Code's `safeguards`."""

    model: str
    messages: list[Raw]
    max_tokens: int
    system: str | list[Raw] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw = NULL
    metadata: Raw = NULL
    thinking: Raw = NULL
    output_config: Raw = NULL
    output_format: Raw = NULL
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    cache_control: Raw = NULL
    container: Raw = NULL
    diagnostics: Raw = NULL
    billing_policy: Raw = NULL
    mcp_servers: list[Raw] | None = None
    context_management: Raw = NULL
    compaction: Raw = NULL
    fallbacks: str | list[Raw] | None = None
    fallback_credit_token: Raw = NULL
    thread: Raw = NULL
    safeguards: Raw = NULL
    user_profile_id: str | None = None
    workspace_id: str | None = None
    betas: list[str] | None = None


class CountBody(RequestBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `count_tokens`, which asks for no answer."""

    max_tokens: int = 1


# --- response, as read back from a Messages stream ------------------------------------------------------------------


class OutputTokensDetails(Struct, frozen=True):
    thinking_tokens: int | None = None


class ServerToolUsage(Struct, frozen=True):
    web_search_requests: int | None = None
    web_fetch_requests: int | None = None


class MessageUsage(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUsage | None = None
    service_tier: str | None = None


class StopDetails(Struct, frozen=True):
    explanation: str | None = None
    category: str | None = None


class Message(Struct, frozen=True):
    id: str
    model: str
    content: list[Raw] = field(default_factory=list)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Raw = NULL
    usage: MessageUsage = MessageUsage()


class StopDelta(Struct, frozen=True):
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Raw = NULL


class ErrorBody(Struct, frozen=True):
    type: str
    message: str
    details: dict[str, Any] | None = None


class StreamEvent(Struct, frozen=True):
    """Any event of a Messages stream: `type` says which of the other fields are there."""

    type: str
    index: int = 0
    message: Message | None = None
    content_block: Raw = NULL
    delta: Raw = NULL
    usage: MessageUsage = MessageUsage()
    error: ErrorBody | None = None


class BlockDelta(Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""


class DeltaEvent(Struct, frozen=True):
    """An event of a Messages stream, if it is a delta."""

    type: str
    delta: BlockDelta
    index: int = 0


class OutputBlock(Struct, frozen=True):
    """A block of an answer; `input` only in a whole message."""

    type: str
    id: str = ""
    name: str = ""
    toolset_name: str | None = None
    text: str = ""
    thinking: str = ""
    signature: str = ""
    citations: list[Raw] | None = None
    input: Raw = Raw(b"{}")
