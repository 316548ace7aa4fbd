"""One conversation with an upstream: what has been asked, what followed from it.

A topic is a generator that yields questions and is sent their replies, so that it reads from top to bottom and waits
for nothing itself. Each question adds one thing to a request that was taken before, so a refusal is about that thing,
whatever words it is in. From a request that was only taken nothing follows that a preset denies: servers ignore what
they do not know, and a small model may not do what it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NoReturn

from msgspec import Struct

from latimer.dialects.errors.causes import cause_of
from latimer.errors import Failure, Rejection
from latimer.policy.model_lists import Told
from latimer.profile import Dialect, Profile

from .answers import Reply
from .questions import ROOM, ROOM_TO_THINK, SAY_OK, SMALL, Answer, Body, Question, Result, user

Asking = Generator[Question, Reply, None]
Answering = Generator[Question, Reply, Reply]
Topic = Callable[["Talk"], Asking]

FATAL = frozenset({"key", "billing", "model", "access"})
"""Causes of a first refusal after which no other question makes sense."""


class Subject(Struct, frozen=True):
    """Whom a probe is about: a model with the rules known so far, and the dialects that its provider has a URL for.

    `fixed` is the dialect that the user's configuration names, None where the probe is to choose.
    """

    model: str
    profile: Profile
    dialects: tuple[Dialect, ...] = ("chat", "responses", "messages")
    told: Told = Told()
    fixed: Dialect | None = None


class Standing(Struct):
    """How one dialect does: whether it answers, takes tools (None: not known), streams to a proper end, keeps to a
    schema, and shows reasoning."""

    works: bool = False
    tools: bool | None = None
    streams: bool | None = None
    schema: bool | None = None
    reasons: bool = False


class Talk:
    """The state of a conversation. `overlay` and `reasons` are what follows for the profile."""

    def __init__(self, subject: Subject) -> None:
        self.model = subject.model
        self.profile = subject.profile
        self.told = subject.told
        self.fixed = subject.fixed
        self.results: list[Result] = []
        self.overlay: dict[str, dict[str, Any]] = {}
        self.reasons: list[str] = []
        self.standing: dict[Dialect, Standing] = {dialect: Standing() for dialect in subject.dialects}
        self.limit_field: str = subject.profile.request.max_tokens_field
        self.strict: bool | None = None
        self.reasoning = ""
        self.cached: Reply | None = None
        self.refusal: Reply | None = None

    @property
    def chat(self) -> Standing:
        """How Chat Completions does, about which most questions are."""
        return self.standing["chat"]

    def ask(
        self,
        about: str,
        dialect: Dialect = "chat",
        *,
        room: bool = False,
        path: str = "",
        glance: bool = False,
        **fields: Any,
    ) -> Answering:
        """One question: the smallest request of its dialect with `fields` in it, without those that are None.

        `room`: for an answer that has to show something.
        """
        tokens = (ROOM_TO_THINK if self.reasoning else ROOM) if room else SMALL
        body = {name: value for name, value in (self._smallest(dialect, tokens) | fields).items() if value is not None}
        reply = yield Question(about, dialect, body, path, glance)
        if dialect == "chat":
            self.reasoning = self.reasoning or reply.reasoning
        if reply.cached_tokens and self.cached is None:
            self.cached = reply
        if reply.verdict == "refused" and reply.error.message:
            self.refusal = self.refusal or reply
        return reply

    def _smallest(self, dialect: Dialect, tokens: int) -> Body:
        match dialect:
            case "chat":
                limit = {self.limit_field: tokens} if self.limit_field else {}
                more = self.profile.request.extra_body
                return {"model": self.model, "messages": [user(SAY_OK)], **limit, **more}
            case "responses":
                return {"model": self.model, "input": SAY_OK, "max_output_tokens": tokens, "store": False}
            case "messages":
                return {"model": self.model, "messages": [user(SAY_OK)], "max_tokens": tokens}

    def note(self, capability: str, answer: Answer, evidence: str, *replies: Reply) -> None:
        """Put an answer on record."""
        numbers = tuple(reply.number for reply in replies if reply.number)
        self.results.append(Result(capability, answer, evidence, numbers))

    def judge(
        self, capability: str, reply: Reply, *, shown: bool | None = None, seen: str = "taken", unseen: str = ""
    ) -> None:
        """The usual reading of one reply. `shown`: whether the answer did what was asked; None: taking it is enough."""
        match reply.verdict:
            case "unasked":
                self.note(capability, "not asked", "the budget was spent")
            case "refused":
                self.note(capability, "no", reply.said, reply)
            case "broken":
                self.note(capability, "unclear", reply.said, reply)
            case "taken" if shown is None or shown:
                self.note(capability, "yes", seen, reply)
            case "taken":
                self.note(capability, "unclear", unseen or "taken, but the answer does not show it", reply)

    def set(self, section: str, field: str, value: Any, why: str) -> None:
        """A rule for the profile, unless it is known already."""
        if getattr(getattr(self.profile, section), field) == value:
            return
        self.overlay.setdefault(section, {})[field] = sorted(value) if isinstance(value, frozenset) else value
        self.reasons.append(why)

    def drop(self, field: str, why: str) -> None:
        """A top-level field that is never sent."""
        dropped = self.profile.request.drop | set(self.overlay.get("request", {}).get("drop", ()))
        self.set("request", "drop", frozenset({*dropped, field}), why)


def give_up(reply: Reply) -> NoReturn:
    """End the probe: the upstream answers nothing at all. Raises Rejection."""
    raise Rejection(reply.failure or Failure("api_error", reply.said))


def is_fatal(reply: Reply) -> bool:
    """Whether a first question failed for the key, the account or the model, or because nobody is there."""
    if not reply.status:
        return reply.number > 0
    return reply.status != 200 and cause_of(reply.status, reply.error) in FATAL


def is_missing(reply: Reply) -> bool:
    """Whether there is no such endpoint."""
    return reply.status in (404, 405, 410, 501) or reply.error.html
