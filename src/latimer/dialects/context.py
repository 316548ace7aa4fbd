"""What the parts of a request encoder share, whatever the dialect."""

from __future__ import annotations

from msgspec import Raw, Struct, field

from latimer.images import Sight
from latimer.profile import Profile
from latimer.report import Action, Loss
from latimer.wire import messages as wire


class Context(Struct, frozen=True):
    """One request on its way to one upstream model. `losses` grows as parts cannot be carried."""

    route: str
    profile: Profile
    tools: dict[str, wire.Tool]
    losses: list[Loss]
    sight: Sight = field(default_factory=Sight)
    foreign: frozenset[str] = frozenset()
    """Signatures of thinking that are known to be another route's."""

    @property
    def marks_caches(self) -> bool:
        """Whether the upstream takes Anthropic's cache marks; Responses has none."""
        rules = self.profile
        return rules.cache.cache_control == "pass" and rules.endpoint.dialect != "responses"

    def lose(self, field: str, why: str, action: Action = "dropped") -> None:
        """Report that `field` is not carried as it was."""
        self.losses.append(Loss(field, action, why))

    def lose_if_given(self, field: str, raw: Raw, why: str) -> None:
        """Report a raw subtree that has no equivalent, if it is there."""
        if wire.given(raw):
            self.lose(field, why)

    def cache_mark(self, path: str, raw: Raw) -> Raw | None:
        """A cache mark for the part it stands on, where the upstream takes them."""
        if not wire.given(raw):
            return None
        if self.marks_caches:
            return raw
        self.lose(f"{path}.cache_control", "this provider caches by itself, without marks")
        return None
