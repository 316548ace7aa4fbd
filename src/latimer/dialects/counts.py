"""Counts of tokens as OpenAI's dialects and their many servers give them, as the hub's."""

from __future__ import annotations

from latimer.dialects.asides import Asides
from latimer.dialects.errors.failures import Asked
from latimer.events import CHARS_PER_TOKEN, Usage


def hub_usage(prompt: int, output: int, *, total: int | None, read: int, write: int, reasoning: int) -> Usage:
    """The whole prompt as input, reasoning within output. `read` and `write` are the prompt cache's part."""
    if reasoning and total == prompt + output + reasoning:
        output += reasoning  # xAI counts reasoning beside the completion
    if read > prompt:
        prompt += read + write  # providers with Anthropic's habit of counting cached tokens apart
    return Usage(prompt, output, read, min(write, prompt - read), min(reasoning, output))


def final_usage(usage: Usage | None, asked: Asked, chars: int, asides: Asides) -> Usage:
    """What the provider counted, else an estimate, which is reported; `chars` were said."""
    if usage is not None:
        return usage
    asides.lose("usage", "the provider did not count, so it is estimated")
    return Usage(asked.input_estimate, -(-chars // CHARS_PER_TOKEN))


def fills_window(usage: Usage | None, asked: Asked) -> bool:
    """Whether the answer ended because the whole window was full, not its own share of it."""
    window = asked.context_window
    return bool(window and usage and usage.input_tokens + usage.output_tokens >= window)
