"""What an answer holds beside its words and calls. Most of it has no place in Messages, so it is reported."""

from __future__ import annotations

from typing import Any

from latimer.events import Tier
from latimer.report import Action, Loss

IMAGE = "[image generated, which cannot be shown here]"

TIERS: dict[str, Tier] = {
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "priority",
    "batch": "batch",
}
"""OpenAI's `service_tier` in Anthropic's words; every other one is standard."""


class Asides:
    """Seen piece by piece; `losses` is each loss once, first seen first."""

    def __init__(self) -> None:
        self.tier: Tier | None = None
        self._losses: dict[str, Loss] = {}

    @property
    def losses(self) -> tuple[Loss, ...]:
        return tuple(self._losses.values())

    def lose(self, field: str, why: str, action: Action = "approximated") -> None:
        """Report a field, which may come many times, once."""
        self._losses.setdefault(field, Loss(field, action, why))

    def drop(self, field: str, why: str) -> None:
        """Report a field that is gone."""
        self.lose(field, why, "dropped")

    def of_answer(self, service_tier: Any, moderation: Any) -> None:
        """What both of OpenAI's dialects put at the top level."""
        if isinstance(service_tier, str):
            self.tier = TIERS.get(service_tier)
        if moderation:
            self.drop("moderation", "Messages has no place for it")
