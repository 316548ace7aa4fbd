"""A review that a request asks for, and the answer that waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.answer import Encoder
from latimer.dialects.messages.request import Request
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, ToolCall, Verdict
from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE, mend_surrogates

KIND = "dangerous_tool_use"

_object: json.Decoder[dict[str, Raw]] = json.Decoder(dict[str, Raw])


class Call(Struct, frozen=True):
    """A tool call as the client gets it. `input` is one JSON object, None where the answer was cut off in it."""

    id: str
    name: str
    input: Raw | None


class Review:
    """The tool calls of one answer and its end, which is held back until there are verdicts on them."""

    def __init__(self, request: Request, context: dict[str, Any], *, delegated: bool = False) -> None:
        self.request = request
        self.context = context
        """What the client says of its user's permissions."""
        self.delegated = delegated
        """Whether the agent is a subagent: it was another agent, not the user, that gave it its task."""
        self.calls: list[Call] = []
        self._held: tuple[Finish, Encoder] | None = None

    @property
    def due(self) -> bool:
        """Whether the answer is complete but for the verdicts."""
        return self._held is not None

    def begin(self) -> None:
        """Forget an attempt that came to nothing."""
        self.calls, self._held = [], None

    def watch(self, encoder: Encoder) -> Encoder:
        """An encoder that holds back the end of an answer with tool calls."""
        return _Watched(encoder, self)

    def hold(self, finish: Finish, encoder: Encoder) -> None:
        """Keep the end of the answer."""
        self._held = (finish, encoder)

    def settle(self, verdicts: Mapping[str, Verdict]) -> bytes:
        """The end of the answer, with the verdicts."""
        if self._held is None:
            return b""
        (finish, encoder), self._held = self._held, None
        return encoder.encode(replace(finish, verdicts=dict(verdicts)))


def take_review(request: Request, classifier: str, *, delegated: bool) -> tuple[Request, Review | None]:
    """The request without the review it asks for, and that review; None when it asks for none that is understood."""
    context = _asked_context(request.body.safeguards)
    if context is None:
        return request, None
    loss = Loss("safeguards", "emulated", f"tool calls are reviewed by {classifier}")
    body = replace(request.body, safeguards=wire.NULL)
    request = replace(request, body=body, losses=[*request.losses, loss])
    return request, Review(request, context, delegated=delegated)


def _asked_context(raw: Raw) -> dict[str, Any] | None:
    try:
        asked = json.decode(raw)
    except UNREADABLE:
        return None
    entries = asked if isinstance(asked, list) else []
    for entry in entries:
        if isinstance(entry, dict) and entry.get("type") == KIND:
            context = entry.get("classifier_context")
            return context if isinstance(context, dict) else {}
    return None


class _Watched:
    """An encoder's events, with the tool calls noted. One for each attempt."""

    def __init__(self, encoder: Encoder, review: Review) -> None:
        self._encoder = encoder
        self._review = review
        self._open: ToolCall | None = None
        self._input: list[str] = []

    def encode(self, event: Event) -> bytes:
        match event:
            case Delta(data=data) if self._open:
                self._input.append(data)
            case BlockStart(block=ToolCall() as call):
                self._open, self._input = call, []
            case BlockStop() if self._open:
                self._review.calls.append(Call(self._open.id, self._open.name, _whole("".join(self._input))))
                self._open = None
            case Finish() if self._review.calls:
                self._review.hold(event, self._encoder)
                return b""
            case _:
                pass
        return self._encoder.encode(event)


def _whole(text: str) -> Raw | None:
    raw = mend_surrogates(text.encode()).strip() or b"{}"
    try:
        _object.decode(raw)
    except UNREADABLE:
        return None
    return Raw(raw)
