"""Usage: the many ways in which servers count tokens, as the hub's one."""

from __future__ import annotations

from latimer.dialects.counts import hub_usage
from latimer.events import Usage
from latimer.wire import chat as wire


def find_usage(chunk: wire.Chunk) -> wire.CompletionUsage | None:
    """The usage of a chunk, wherever this provider puts it."""
    if chunk.usage is not None:
        return chunk.usage
    if chunk.x_groq is not None:
        return chunk.x_groq.usage
    return next((choice.usage for choice in chunk.choices or () if choice.usage), None)


def decode_usage(usage: wire.CompletionUsage) -> Usage:
    """The hub's counts: the whole prompt as input, reasoning within output."""
    prompt, output = usage.prompt_tokens or 0, usage.completion_tokens or 0
    read, write = _cache_read(usage), _cache_write(usage)
    return hub_usage(prompt, output, total=usage.total_tokens, read=read, write=write, reasoning=_reasoning(usage))


def encode_usage(usage: Usage) -> dict[str, object]:
    """OpenAI's own form."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _cache_read(usage: wire.CompletionUsage) -> int:
    details = usage.prompt_tokens_details
    return (
        (details.cached_tokens if details else None)
        or usage.cached_tokens
        or usage.prompt_cache_hit_tokens
        or usage.num_cached_tokens
        or usage.cache_read_input_tokens
        or 0
    )


def _cache_write(usage: wire.CompletionUsage) -> int:
    details = usage.prompt_tokens_details
    inside = (details.cache_write_tokens or details.cache_creation_input_tokens) if details else None
    return inside or usage.cache_creation_input_tokens or 0


def _reasoning(usage: wire.CompletionUsage) -> int:
    details = usage.completion_tokens_details
    return (details.reasoning_tokens if details else None) or usage.reasoning_tokens or 0
