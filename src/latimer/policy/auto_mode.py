"""Who reviews tool calls in Claude Code's auto mode: the table `[auto_mode]` (docs/auto-mode.md)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class AutoMode(Struct, frozen=True, forbid_unknown_fields=True):
    """The classifier and its limits."""

    classifier: str = ""
    """`provider/model`; '' for nobody: the client is told nothing, and denies what needs a review."""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """For the verdict on one call."""
    max_input_tokens: Annotated[int, Meta(ge=4000)] = 16_000
    """Of what the classifier reads about one call, the policy included."""
    skip_tools: tuple[str, ...] = ("Read", "Glob", "Grep", "ToolSearch", "ListAgents")
    """Tools whose calls Claude Code runs without a review anyway. Where it wants one after all, it denies the call."""
