"""Usage in the words of the Responses API."""

from __future__ import annotations

from latimer.dialects.counts import hub_usage
from latimer.events import Usage
from latimer.wire import responses as wire


def decode_usage(usage: wire.ResponseUsage) -> Usage:
    """The hub's counts: the whole prompt as input, reasoning within output."""
    inside, outside = usage.input_tokens_details, usage.output_tokens_details
    return hub_usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        total=usage.total_tokens,
        read=(inside and inside.cached_tokens) or 0,
        write=(inside and inside.cache_write_tokens) or 0,
        reasoning=(outside and outside.reasoning_tokens) or 0,
    )


def encode_usage(usage: Usage) -> dict[str, object]:
    """OpenAI's own form."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
