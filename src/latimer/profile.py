"""What an upstream takes and how it answers, as data. The dialects read it; nothing else branches on a provider's name.

A profile is merged in the order defaults < preset < model glob < learned from a 400 < the user's own words
(`latimer.policy.profiles`). Every default here is what most OpenAI-compatible servers accept.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Effort = Literal["none", "low", "medium", "high", "xhigh", "max"]
SchemaDialect = Literal["full", "openai", "inlined", "grammar", "gemini", "mfjs"]


Dialect = Literal["chat", "responses", "messages"]
"""What an upstream speaks: OpenAI Chat Completions, OpenAI Responses, or Anthropic Messages."""


class EndpointRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests go."""

    dialect: Dialect = "chat"
    """Of those the upstream has, the one this model is asked in."""
    count_tokens: bool = False
    """Whether the upstream's Messages API counts tokens, too."""


class RequestRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The request's top level."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_output: int = 0
    """Most output tokens the model gives, 0 when unknown; larger requests are clamped to it."""
    context_window: int = 0
    """Tokens of prompt and answer together, 0 when unknown."""
    stream: Literal["always", "as_asked"] = "always"
    """`always`: ask for a stream even when the client wants one message: slow answers then survive idle timeouts."""
    usage: Literal["stream_options", "unasked"] = "stream_options"
    """How a stream is made to carry usage."""
    drop: frozenset[str] = frozenset()
    """Top-level fields never sent."""
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Fields sent with every request."""
    top_k: bool = False
    """Whether `top_k`, which OpenAI does not have, is understood."""
    json_schema: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    """How structured output is asked for; the lesser two put the schema into the system prompt."""
    user_id: Literal["drop", "user", "safety_identifier"] = "drop"
    """Where a hash of `metadata.user_id` goes."""
    service_tier: bool = False
    """Whether `service_tier` is understood, with OpenAI's words."""
    session_key: Literal["", "prompt_cache_key"] = ""
    """Where a hash of the session goes, so that a provider's cache can keep it on one machine."""


class ReasoningRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How thinking is asked for, and how it goes back."""

    control: Literal["effort", "effort_object", "thinking_type", "enable_thinking", "none"] = "effort"
    """`effort`: `reasoning_effort`; `effort_object`: `reasoning.effort`; `thinking_type`: `thinking.type`, and effort
    if mapped; `enable_thinking`: only a switch; `none`: no control."""
    efforts: dict[Effort, str] = field(
        default_factory=lambda: {
            "none": "low",
            "low": "low",
            "medium": "medium",
            "high": "high",
            "xhigh": "high",
            "max": "high",
        }
    )
    """Claude's effort words to the provider's; '' leaves the field out."""
    budget_field: str = ""
    """Where `thinking.budget_tokens` goes, such as `thinking_budget`."""
    think_tags: bool = True
    """Whether an answer that begins with `<think>` holds its reasoning there."""
    replay: Literal["all", "never"] = "all"
    """Whether assistant messages get their reasoning back, in the field it came in. There is no middle way that would
    not change earlier messages from turn to turn, and so lose the provider's prefix cache."""
    replay_missing: Literal["omit", "empty"] = "omit"
    """What stands in for reasoning that is lost, for providers that refuse history without the field."""


class ToolRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Tools and tool calls."""

    choices: frozenset[str] = frozenset({"auto", "none", "required", "named"})
    """`tool_choice` values that are understood; others become `auto` and are reported."""
    required_word: str = "required"
    parallel: bool = True
    """Whether `parallel_tool_calls: false` may be sent. At most one call is passed on either way."""
    id_pattern: str = r"[A-Za-z0-9_-]{1,40}"
    """Ids that may be sent; others become a hash of nine letters and digits, which every provider takes."""
    drop_keywords: frozenset[str] = frozenset({"$schema", "$id"})
    """JSON Schema keywords removed from parameters, at any depth."""
    schema: SchemaDialect = "full"
    """The JSON Schema of parameters that is taken (`latimer.dialects.schemas`)."""
    strict: bool = False
    """Whether tools that ask for it are sent as strict, where their schema is fit for it."""
    recover_text: bool = True
    """Whether calls of advertised tools that the model wrote as text become calls."""
    repair_arguments: bool = True
    """Whether malformed arguments are mended and brought to their schema's types; else they fail the answer."""
    max_count: int = 128
    """Most tools in one request, 0 for any number; of more, those that can be searched for are loaded when they are
    found, and of what is still too many the last MCP tools are left out."""


class MessageRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Roles and the shape of content."""

    system_role: Literal["system", "developer"] = "system"
    mid_system: Literal["native", "tagged"] = "native"
    """A system message in mid-conversation: kept in place, or as marked user text where only a leading one is taken."""
    merge_users: bool = False
    """Join neighbouring user messages, for chat templates that want strict alternation."""
    content: Literal["string_if_text", "parts", "string_only"] = "string_if_text"
    assistant_null: Literal["null", "empty", "omit"] = "null"
    """`content` of an assistant message that only calls tools."""
    bridge: str = ""
    """What the assistant says between a tool message and a user message, for providers that refuse one right after the
    other."""
    prefill: Literal["native", "reject"] = "reject"
    """A conversation that ends in an assistant message: sent as it is, or refused as new Claude models do."""


class MediaRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Images and documents."""

    images: bool = True
    tool_images: Literal["next_user", "native"] = "next_user"
    """Images in tool results: moved to the next user message, or left in the tool message."""
    pdf: Literal["text", "file"] = "text"
    """PDFs as extracted text with page marks, or as a file part."""


class CacheRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Prompt caching."""

    cache_control: Literal["strip", "pass"] = "strip"
    session_headers: tuple[str, ...] = ()
    """Headers that carry a hash of the session, by which a provider keeps it where its cache is."""


class NativeRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What an upstream that speaks Messages itself does not take; the rest of a request goes to it byte for byte."""


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream model's rules."""

    endpoint: EndpointRules = EndpointRules()
    request: RequestRules = RequestRules()
    reasoning: ReasoningRules = ReasoningRules()
    tools: ToolRules = ToolRules()
    messages: MessageRules = MessageRules()
    media: MediaRules = MediaRules()
    cache: CacheRules = CacheRules()
    native: NativeRules = NativeRules()

    @property
    def sees(self) -> bool:
        """Whether images can be sent."""
        return self.media.images and self.messages.content != "string_only"
