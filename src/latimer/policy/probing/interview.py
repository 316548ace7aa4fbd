"""A whole probe: all topics in the order in which early refusals save later questions, and what it comes to."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from latimer.policy.presets import Overlay
from latimer.profile import Dialect

from .choice import Chosen, choose
from .endpoints import endpoints
from .questions import INPUT_CACHING, INPUT_EACH, ROOM_TO_THINK, Result
from .reasoning import reasoning
from .structured import note_ignored_schema, structured, structured_elsewhere
from .talk import Asking, Subject, Talk, Topic
from .topics import caching, images, output_limit, roles, stop_sequences, streaming, tools, unknown_fields

TOPICS: tuple[Topic, ...] = (
    unknown_fields,
    streaming,
    tools,
    roles,
    output_limit,
    images,
    reasoning,
    structured,
    stop_sequences,
    caching,
)
MOST_QUESTIONS = 48
"""No upstream is asked more than this, whatever it answers."""


class Budget(Struct, frozen=True):
    """The most that a probe of one model takes. Of tokens it is far more than what is usual."""

    requests: int
    input_tokens: int
    output_tokens: int


class Found(Struct, frozen=True):
    """What a probe came to: a row for each capability, the overlay of the profile, and why."""

    results: tuple[Result, ...]
    overlay: Overlay
    reasons: tuple[str, ...]
    dialect: Dialect | None


class Interview:
    """Yields questions, takes replies; `found` is what it came to so far, whenever it ends."""

    def __init__(self, subject: Subject) -> None:
        self._talk = Talk(subject)

    def questions(self) -> Asking:
        """All questions. Raises Rejection when the upstream answers none of the first ones."""
        talk = self._talk
        if window := talk.told.facts.context_window:
            talk.note("context window", "yes", f"{window} tokens, by {talk.told.where}")
            talk.set("request", "context_window", window, f"{talk.told.where} tells the context window")
        yield from endpoints(talk)
        yield from structured_elsewhere(talk)
        if "chat" in talk.standing and talk.chat.works:
            for topic in TOPICS:
                yield from topic(talk)
        if chosen := self._chosen():
            note_ignored_schema(talk, chosen[0])

    def _chosen(self) -> Chosen | None:
        talk = self._talk
        if talk.fixed:
            return talk.fixed, "your configuration names it"
        return choose(talk.standing, talk.profile.endpoint.dialect)

    @property
    def found(self) -> Found:
        """What follows from the replies."""
        talk = self._talk
        overlay: dict[str, dict[str, Any]] = {name: dict(rules) for name, rules in talk.overlay.items()}
        reasons, results = list(talk.reasons), list(talk.results)
        if talk.refusal is not None:
            shape = "JSON with a message" if not talk.refusal.error.html else "a web page"
            results.append(Result("errors", "yes", shape, (talk.refusal.number,)))
        chosen = self._chosen()
        if chosen is None:
            return Found(tuple(results), overlay, tuple(reasons), None)
        dialect, why = chosen
        results.append(Result("dialect", "yes", f"{dialect}: {why}"))
        if talk.fixed is None and talk.profile.endpoint.dialect != dialect:
            overlay.setdefault("endpoint", {})["dialect"] = dialect
            reasons.append(f"asked in {dialect}: {why}")
        return Found(tuple(results), overlay, tuple(reasons), dialect)


def budget(requests: int) -> Budget:
    """What so many questions cost at most; the long prompts about caching and answers of a thinking model included."""
    allowed = min(requests, MOST_QUESTIONS)
    return Budget(allowed, allowed * INPUT_EACH + 2 * INPUT_CACHING, allowed * ROOM_TO_THINK)
