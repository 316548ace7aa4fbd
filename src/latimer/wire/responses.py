"""OpenAI Responses as servers really send it: the reference's fields that say something, in wide types.

Reference: https://platform.openai.com/docs/api-reference/responses. Unknown fields are ignored; a type that no field
allows makes the event undecodable, which the decoder turns into a Failure.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Part(Struct, frozen=True):
    """A part of a message's content, of a reasoning item's summary, or of its content."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: Any = None
    logprobs: Any = None


class Item(Struct, frozen=True):
    """One item of `output`, whatever its type."""

    type: str = ""
    id: str | None = None
    status: str | None = None
    content: list[Part] | str | None = None
    """Of a message, and of reasoning that is not encrypted (local servers)."""
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | Any = None
    """Of a custom tool's call: text. Other items have other things there."""
    phase: str | None = None


class InputTokensDetails(Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputTokensDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class ResponseUsage(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None


class IncompleteDetails(Struct, frozen=True):
    reason: str | None = None


class Response(Struct, frozen=True):
    """A whole answer, and what `response.created` and the events of the end hold."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[Item] | None = None
    usage: ResponseUsage | None = None
    error: Any = None
    incomplete_details: IncompleteDetails | None = None
    service_tier: Any = None
    moderation: Any = None
    input_transformations: Any = None
    """What of the request was left out: reasoning of another model or organization."""


class StreamEvent(Struct, frozen=True):
    """Any event of a stream: which fields it has depends on its type."""

    type: str = ""
    response: Response | None = None
    item: Item | None = None
    part: Part | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: Any = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    name: str | None = None
