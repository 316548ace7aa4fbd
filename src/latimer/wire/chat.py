"""OpenAI Chat Completions as servers really send it: the reference's fields, the common extensions, and wide types.

Reference: https://platform.openai.com/docs/api-reference/chat. Unknown fields are ignored; a type that no field
allows makes the chunk undecodable, which the decoder turns into a Failure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

NULL = Raw(b"null")
"""An absent raw subtree; msgspec has no optional `Raw`."""


class FunctionDelta(Struct, frozen=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCallDelta(Struct, frozen=True):
    index: int | None = None
    id: str | int | None = None
    function: FunctionDelta | None = None
    extra_content: Raw = NULL
    """Gemini's thought signature (OpenAI-compatible endpoint), to be sent back with the call."""


class ChoiceDelta(Struct, frozen=True):
    """`delta` of a chunk and `message` of a whole answer."""

    content: str | list[Raw] | None = None
    reasoning_content: str | None = None
    reasoning: str | dict[str, Any] | None = None
    reasoning_text: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    reasoning_opaque: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    function_call: FunctionDelta | None = None
    annotations: Any = None
    audio: Any = None
    images: Any = None
    """OpenRouter: https://openrouter.ai/docs/features/multimodal/image-generation."""


class PromptTokensDetails(Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionTokensDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionUsage(Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cached_tokens: int | None = None
    """Moonshot."""
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek."""
    num_cached_tokens: int | None = None
    """Mistral."""
    cache_read_input_tokens: int | None = None
    """MiniMax and other gateways that use Anthropic's names."""
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    """GitHub Copilot."""


class Choice(Struct, frozen=True):
    index: int | None = 0
    delta: ChoiceDelta | None = None
    message: ChoiceDelta | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    content_filter_results: Any = None
    """Azure."""
    usage: CompletionUsage | None = None
    """Moonshot."""


class GroqExtension(Struct, frozen=True):
    usage: CompletionUsage | None = None


class Chunk(Struct, frozen=True):
    """One chunk of a stream, or a whole answer."""

    id: str | int | None = ""
    model: str | None = ""
    choices: list[Choice] | None = None
    usage: CompletionUsage | None = None
    error: Raw = NULL
    x_groq: GroqExtension | None = None
    service_tier: Any = None
    moderation: Any = None


Nothing = Literal[""] | None
NoEntries = Annotated[list[Any], Meta(max_length=0)] | None


class MoreArguments(Struct, frozen=True):
    arguments: str
    name: Nothing = None


class MoreOfCall(Struct, frozen=True):
    function: MoreArguments
    index: int | None = None
    id: str | None = None
    extra_content: None = None


class MoreDelta(Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[MoreOfCall], Meta(max_length=1)] | None = None
    reasoning_text: Nothing = None
    reasoning_details: NoEntries = None
    reasoning_opaque: Nothing = None
    refusal: Nothing = None
    function_call: None = None
    annotations: NoEntries = None
    audio: None = None
    images: NoEntries = None


class MoreChoice(Struct, frozen=True):
    delta: MoreDelta
    index: Literal[0] | None = 0
    message: None = None
    finish_reason: Nothing = None
    logprobs: None = None
    content_filter_results: Annotated[dict[str, Any], Meta(max_length=0)] | None = None
    usage: None = None


class More(Struct, frozen=True):
    """A `Chunk` that says nothing but more of what is open, as nearly all do; no other is of this type.

    So what says more than that is found by decoding alone, without a look at each field.
    """

    choices: tuple[MoreChoice]
    usage: None = None
    error: None = None
    x_groq: None = None
    service_tier: Any = None
    moderation: None = None


class TextPart(Struct, frozen=True):
    """A part of list-valued content (Mistral): text, or thinking that nests text parts."""

    type: str = "text"
    text: str = ""
    thinking: str | list[Raw] = ""
