"""What an upstream has said so far. What comes back as its own words must be on record here."""

from dataclasses import dataclass, field

from tests.scenarios.replies import Say


@dataclass
class Ledger:
    """The record of one scripted upstream; the keys of `reasoning` are the tokens that stand for it on the wire."""

    replies: list[Say] = field(default_factory=list)
    """Everything, in order."""
    reasoning: dict[str, Say] = field(default_factory=dict)
    """By encrypted content, signature or thought signature: the reply it came with."""
    calls: dict[str, Say] = field(default_factory=dict)
    """By the id of a call: the reply it came with."""
    items: set[str] = field(default_factory=set)
    """The ids of Responses items."""

    @property
    def thoughts(self) -> set[str]:
        """Every reasoning text."""
        return {say.reasoning for say in self.replies if say.reasoning}

    def number(self) -> int:
        """A number for the next reply."""
        return len(self.replies) + 1

    def record(self, say: Say, token: str = "") -> None:
        """Keep what is about to be said."""
        self.replies.append(say)
        if token:
            self.reasoning[token] = say
        for call in say.calls:
            self.calls[call.id or ""] = say
