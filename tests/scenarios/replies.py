"""What a scripted upstream can answer, from a well-behaved reply down to single bytes.

A `Say` is what a model says, whole. It becomes a `Wire`: the status, the headers and the exact writes, with pauses and
cuts between them, so that a scenario decides where a chunk ends, down to the middle of a character.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Pause:
    """Nothing is sent for this long."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """The connection is aborted here, as when the upstream's process dies."""


Step = bytes | Pause | Cut


@dataclass(frozen=True)
class Wire:
    """A reply as it goes over the wire: each `bytes` is one write."""

    steps: tuple[Step, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    def mapped(self, change: Callable[[Iterator[Step]], Iterable[Step]]) -> "Wire":
        """The same reply with its steps rewritten."""
        return replace(self, steps=tuple(change(iter(self.steps))))

    def sliced(self, size: int) -> "Wire":
        """Every write split into pieces of `size` bytes, without regard for lines or characters."""
        return self.mapped(lambda steps: itertools.chain.from_iterable(_slices(step, size) for step in steps))

    def together(self) -> "Wire":
        """All bytes in one write."""
        return replace(self, steps=(b"".join(step for step in self.steps if isinstance(step, bytes)),))

    def cut(self, after: bytes) -> "Wire":
        """The connection dies right after these bytes, in the middle of a line most likely."""
        return self.mapped(lambda steps: [*_through(steps, after, exactly=True), Cut()])

    def ended(self, after: bytes) -> "Wire":
        """The body ends, in good order but too early, after the first write (of a stream) that contains `after`."""
        return self.mapped(lambda steps: _through(steps, after))

    def paused(self, seconds: float, *, after: bytes | None = None) -> "Wire":
        """Silent for `seconds`: before the first byte, or after the first write that contains `after`."""
        if after is None:
            return replace(self, steps=(Pause(seconds), *self.steps))
        return self.mapped(lambda steps: [*_through(steps, after), Pause(seconds), *steps])

    def paced(self, seconds: float) -> "Wire":
        """A pause after every write."""
        return self.mapped(lambda steps: (each for step in steps for each in (step, Pause(seconds))))


def _slices(step: Step, size: int) -> Iterator[Step]:
    if isinstance(step, bytes):
        yield from (step[start : start + size] for start in range(0, len(step), size))
    else:
        yield step


def _through(steps: Iterator[Step], last: bytes, *, exactly: bool = False) -> Iterator[Step]:
    """The steps up to and including the first write that contains `last`; the rest stays in `steps`."""
    for step in steps:
        if isinstance(step, bytes) and last in step:
            yield step[: step.index(last) + len(last)] if exactly else step
            return
        yield step
    raise AssertionError(f"no write contains {last!r}: the scenario is wrong")


@dataclass(frozen=True)
class Call:
    """One tool call of the model."""

    name: str
    arguments: Json | str = field(default_factory=dict)
    id: str | None = None

    @property
    def text(self) -> str:
        """The arguments as the wire carries them."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Say:
    """What the model says in one turn."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    reasoning_field: str = "reasoning_content"
    refusal: str = ""
    finish: str | None = None
    usage: Json | None = None
    piece: int = 12  # characters in one delta
    # Servers that number every call 0, or send no id, exist; see wire.md section 5.4.
    constant_index: bool = False

    @property
    def finish_reason(self) -> str:
        """The finish reason OpenAI would give, unless the scenario wants another."""
        return self.finish or ("tool_calls" if self.calls else "stop")

    def identified(self, first: int) -> "Say":
        """The same, with an id for every call that has none."""
        numbered = (
            replace(call, id=call.id or f"call_{number:024d}") for number, call in enumerate(self.calls, start=first)
        )
        return replace(self, calls=tuple(numbered))

    def whole(self, model: str) -> Wire:
        """The reply as one JSON body."""
        message: Json = {"role": "assistant", "content": self.text or None, "refusal": self.refusal or None}
        if self.reasoning:
            message[self.reasoning_field] = self.reasoning
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
                for call in self.calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return Wire((json.dumps({**body, "usage": self.usage}).encode(),))

    def streamed(self, model: str, *, include_usage: bool) -> Wire:
        """The reply as server-sent events, one write for each."""
        # A constant id on purpose: some servers do that, and it must not leak through (wire.md section 0.5).
        frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}

        def event(**fields: Any) -> bytes:
            return b"data: " + json.dumps({**frame, **fields}, ensure_ascii=False).encode() + b"\n\n"

        def delta(fields: Json, finish: str | None = None) -> bytes:
            return event(choices=[{"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish}])

        writes = [delta({"role": "assistant", "content": ""}), *(delta(fields) for fields in self._deltas())]
        writes.append(delta({}, self.finish_reason))
        if include_usage:
            writes.append(event(choices=[], usage=self.usage))
        return Wire((*writes, b"data: [DONE]\n\n"), headers={"content-type": "text/event-stream; charset=utf-8"})

    def _deltas(self) -> Iterator[Json]:
        for piece in pieces(self.reasoning, self.piece):
            yield {self.reasoning_field: piece}
        for piece in pieces(self.text, self.piece):
            yield {"content": piece}
        for piece in pieces(self.refusal, self.piece):
            yield {"refusal": piece}
        for number, call in enumerate(self.calls):
            index = 0 if self.constant_index else number
            function = {"name": call.name, "arguments": ""}
            yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
            for piece in pieces(call.text, self.piece):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def pieces(text: str, size: int) -> Iterator[str]:
    """The text, a few characters at a time."""
    return (text[start : start + size] for start in range(0, len(text), size))


def failure(status: int, message: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Wire:
    """An error in OpenAI's envelope."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}
    body = json.dumps({"error": error}).encode()
    return Wire((body,), status=status, headers={"content-type": "application/json", **(headers or {})})


def rate_limited(retry_after: str = "1") -> Wire:
    """429 as OpenAI words it."""
    message = "Rate limit reached for requests. Please try again later."
    return failure(429, message, type="requests", code="rate_limit_exceeded", headers={"retry-after": retry_after})


def overflow(tokens: int, maximum: int) -> Wire:
    """The context overflow, in OpenAI's words."""
    message = (
        f"This model's maximum context length is {maximum} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages."
    )
    return failure(400, message, param="messages", code="context_length_exceeded")


def events(*payloads: Json | str) -> Wire:
    """A hand-written event stream."""
    lines = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    headers = {"content-type": "text/event-stream"}
    return Wire(tuple(f"data: {line}\n\n".encode() for line in lines), headers=headers)


def html(status: int = 200) -> Wire:
    """What a captive portal, or a base URL without its /v1, answers."""
    page = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Sign in to continue</body></html>"
    return Wire((page,), status=status, headers={"content-type": "text/html"})
