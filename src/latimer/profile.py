"""What an upstream takes and how it answers, as data. The dialects read it; nothing else branches on a provider's name.

A profile is merged in the order defaults < preset < model glob < learned from a 400 < the user's own words
(`latimer.policy.profiles`). Every default here is what most OpenAI-compatible servers accept.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Effort = Literal["none", "low", "medium", "high", "xhigh", "max"]
ReasoningControl = Literal[
    "effort",
    "effort_object",
    "thinking_type",
    "enable_thinking",
    "enable_thinking_and_effort",
    "chat_template_kwargs",
    "reasoning_enabled",
    "none",
]
SchemaDialect = Literal["full", "openai", "inlined", "grammar", "gemini", "mfjs"]


Dialect = Literal["chat", "responses", "messages"]
"""What an upstream speaks: OpenAI Chat Completions, OpenAI Responses, or Anthropic Messages."""


class EndpointRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests go."""

    dialect: Dialect = "chat"
    """Of those the upstream has, the one this model is asked in."""
    missing: frozenset[Dialect] = frozenset()
    """Those it turned out not to have for this model, so that no lesson leads back to them."""
    count_tokens: bool = False
    """Whether the upstream's Messages API counts tokens, too."""


class RequestRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The request's top level."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The field of Chat Completions that limits the answer."""
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
    drop_when_thinking: frozenset[str] = frozenset()
    """Top-level fields sent only where thinking is switched off."""
    least_temperature: float = 0.0
    """For providers that refuse a temperature of 0; a Messages API has its own in `native`."""
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
    obfuscation: Literal["unasked", "off"] = "unasked"
    """Responses: whether OpenAI is asked not to pad its events (`stream_options.include_obfuscation`)."""
    session_key: Literal["", "prompt_cache_key"] = ""
    """Where a hash of the session goes, so that a provider's cache can keep it on one machine."""


class ReasoningRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How thinking is asked for, and how it goes back."""

    control: ReasoningControl = "effort"
    """`effort`: the field `reasoning_effort`; `effort_object`: the field `reasoning.effort`; `thinking_type`:
    the switch `thinking.type`, and `reasoning_effort` if it is mapped; `enable_thinking`: only that switch;
    `enable_thinking_and_effort`: the switch `enable_thinking`, and `reasoning_effort` if it is mapped;
    `chat_template_kwargs`: the switch `template_switch` in `chat_template_kwargs`, and `reasoning_effort` if it is
    mapped; `reasoning_enabled`: the switch `reasoning.enabled`, and `reasoning_effort` if it is mapped; `none`: no
    control."""
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
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Chat Completions: top-level fields that make the provider keep reasoning apart from the text."""
    thinking_fields: dict[str, Any] = field(default_factory=dict)
    """What stands beside `type` in `thinking` while it is on."""
    template_switch: str = "enable_thinking"
    """The variable by which the model's chat template switches thinking."""
    budget_field: str = ""
    """Where `thinking.budget_tokens` goes, such as `thinking_budget`."""
    think_tags: bool = True
    """Whether an answer that begins with `<think>` holds its reasoning there."""
    replay: Literal["all", "never"] = "all"
    """Whether assistant messages get their reasoning back, in the field it came in. There is no middle way that would
    not change earlier messages from turn to turn, and so lose the provider's prefix cache."""
    replay_missing: Literal["omit", "empty"] = "omit"
    """What stands in for reasoning that is lost, for providers that refuse history without the field."""
    item_ids: Literal["unencrypted", "always", "never"] = "unencrypted"
    """Responses: which reasoning items go back with their ids. With `store: false` OpenAI and Azure refuse an id, Azure
    AI Foundry wants one, and vLLM, which encrypts nothing, wants one too."""
    summaries: bool = True
    """Responses: whether summaries of reasoning may be asked for; OpenAI gives them only to verified organizations."""


class ToolRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Tools and tool calls."""

    choices: frozenset[str] = frozenset({"auto", "none", "required", "named"})
    """`tool_choice` values that are understood; others become `auto` and are reported."""
    choices_when_thinking: frozenset[str] = frozenset({"auto", "none", "required", "named"})
    """Those of `choices` that are understood while the model thinks."""
    required_word: str = "required"
    """The provider's word for `required`."""
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
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Chat Completions: top-level fields sent with every request that has tools."""
    needed_by_history: bool = False
    """Whether a history with calls is refused without tools: then a request without any gets one that does nothing."""
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
    """The role of system messages."""
    mid_system: Literal["native", "tagged"] = "native"
    """A system message in mid-conversation: kept in place, or as marked user text where only a leading one is taken."""
    merge_users: bool = False
    """Join neighbouring user messages, for chat templates that want strict alternation."""
    content: Literal["string_if_text", "parts", "string_only"] = "string_if_text"
    """Text alone as a string, or always as parts; `string_only`: never parts, so without images."""
    assistant_null: Literal["null", "empty", "omit"] = "null"
    """`content` of an assistant message that only calls tools."""
    bridge: str = ""
    """What the assistant says between a tool message and a user message, for providers that refuse one right after the
    other."""
    output_ids: bool = False
    """Responses: whether assistant messages get an id and a status, which the SDK's types require, and so vLLM and
    others that check requests by them. The id is made up, since OpenAI looks for real ones."""
    phase: bool = False
    """Responses: whether assistant messages say which `phase` they are of, as GPT-5.4 and later want it."""
    prefill: Literal["native", "reject"] = "reject"
    """A conversation that ends in an assistant message: sent as it is, or refused as new Claude models do."""


class MediaRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Images and documents."""

    images: bool = True
    """Whether the model sees images."""
    image_urls: bool = True
    """Whether images may be given by their URLs; a Messages API has its own rule in `native`."""
    tool_images: Literal["next_user", "native", "spec"] = "next_user"
    """Images in tool results: moved to the next user message, or left in the result; `spec`: where OpenAI's reference
    has them, which is the result in Responses and the next user message in Chat Completions."""
    pdf: Literal["text", "file"] = "text"
    """PDFs as extracted text with page marks, or as a file part."""


class CacheRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Prompt caching."""

    cache_control: Literal["strip", "pass"] = "strip"
    """Whether Claude's cache marks are passed on."""
    session_headers: tuple[str, ...] = ()
    """Headers that carry a hash of the session, by which a provider keeps it where its cache is."""


ANYTHING = "*"
"""In a set of what is taken: all there is, what Latimer does not know included."""


class NativeRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What an upstream that speaks Messages itself takes; the rest of a request goes to it byte for byte.

    The defaults are API version 2023-06-01 without any beta, as every endpoint that calls itself compatible has it. Of
    the other sections those count that are not about another dialect's fields: of `request`, `max_output`,
    `context_window`, `drop`, `drop_when_thinking`, `least_temperature` and `extra_body`; of `reasoning`, `efforts`; of
    `tools`, `choices`, `choices_when_thinking`, `parallel`, `schema`, `drop_keywords` and `max_count`; of `messages`,
    `merge_users`; of `media`, `images` and `image_urls`; and `cache`.
    """

    passthrough: bool = True
    """Whether answers go through byte for byte; if not, they are read and written anew, with all repairs."""
    fields: frozenset[str] = frozenset({"stop_sequences", "stream", "temperature", "top_k", "top_p"})
    """Top-level fields that are taken, beside those that every request has."""
    output_config: frozenset[str] = frozenset()
    """Members of `output_config` that are taken: `effort` in the words of `reasoning.efforts`, `format`, …"""
    blocks: frozenset[str] = frozenset({"image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"})
    """Types of content blocks that are taken; others are told as text."""
    new_members: bool = False
    """Whether blocks, messages and settings may have members that came after the classic ones: citations of text,
    callers, toolsets, a message's own effort, and those that Latimer does not know."""
    betas: frozenset[str] = frozenset()
    """Globs of the betas that are sent on."""
    refused_betas: frozenset[str] = frozenset()
    """Globs of those that are not, all the same."""
    new_version: bool = False
    """Whether API version 2026-10-21 is understood; if not, requests go as 2023-06-01."""
    mid_system: Literal["native", "tagged"] = "tagged"
    """A system message in mid-conversation: kept, or as marked user text."""
    billing_line: Literal["strip", "pass"] = "strip"
    """Claude Code's billing line at the head of the system prompt, which defeats prefix caches."""
    user_id: Literal["hash", "pass", "drop"] = "hash"
    """What becomes of `metadata.user_id`, which names device, account and session."""
    thinking: frozenset[str] = frozenset({"disabled", "enabled"})
    """Values of `thinking.type` that are taken; others become the nearest of them."""
    thinking_display: bool = False
    """Whether the other members of `thinking` are taken: `display`, `block_binding`."""
    effort_when_disabled: bool = False
    """Whether an effort may stand beside thinking that is switched off; DeepSeek answers 400."""
    thinking_in_calls: bool = False
    """Whether every assistant message that calls tools needs a thinking block: one that says so is put where it was
    lost."""
    tool_members: frozenset[str] = frozenset({"description", "input_schema", "name"})
    """Members of a tool that are taken. `cache_control` needs `cache.cache_control`, too."""
    client_tools: bool = False
    """Whether Anthropic's own client tools are known (`bash_20250124`, …); if not, they go as plain tools."""
    server_tools: bool = False
    """Whether the upstream runs server tools (`web_search_20250305`, …); if not, Latimer does."""
    deferred_tools: bool = False
    """Whether `defer_loading` and `tool_reference` are understood; if not, tools are sent once they are found."""
    cache_ttl: bool = False
    """Whether a cache mark may say how long it holds."""

    def takes(self, field: str) -> bool:
        """Whether a top-level field is taken."""
        return field in self.fields or ANYTHING in self.fields

    def takes_block(self, kind: str) -> bool:
        """Whether blocks of a type are taken."""
        return kind in self.blocks or ANYTHING in self.blocks


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens, None where unknown."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


class PriceTier(Price, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an exchange costs when its prompt has more than `above` tokens."""

    above: int


class PriceRules(Price, frozen=True, forbid_unknown_fields=True):
    """What the model costs."""

    tiers: tuple[PriceTier, ...] = ()


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
    prices: PriceRules = PriceRules()

    @property
    def sees(self) -> bool:
        """Whether images can be sent."""
        return self.media.images and self.messages.content != "string_only"
