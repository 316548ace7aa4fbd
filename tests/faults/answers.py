"""A good answer in every dialect, in the parts between which something can go wrong."""

import json
from dataclasses import dataclass, replace
from typing import Any

from tests.scenarios import messages_replies, responses_replies
from tests.scenarios.replies import Say, Wire

TEXT = "Grüße aus 北京: this answer is whole."
USAGE = {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}
SAY = Say(TEXT, usage=USAGE, piece=8)
ERROR = "the engine ran out of memory"


@dataclass(frozen=True)
class Spoken:
    """`opening` comes before the first token; `ending` after the last one. Each is one event, or a piece of a body."""

    dialect: str
    stream: bool
    opening: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    ending: tuple[bytes, ...]

    @property
    def content_type(self) -> str:
        return "text/event-stream" if self.stream else "application/json"

    @property
    def finish(self) -> tuple[bytes, ...]:
        """Of a stream's ending, what says that the answer is complete."""
        return {"chat": self.ending[:1], "responses": self.ending[-1:]}.get(self.dialect, self.ending[-2:])

    @property
    def body(self) -> bytes:
        return b"".join([*self.opening, *self.tokens, *self.ending])

    @property
    def error(self) -> bytes:
        """What this dialect says of an error in a 200."""
        body: dict[str, Any] = {"error": {"message": ERROR, "type": "server_error", "code": 500}}
        name = b""
        if self.dialect == "messages":
            body = {"type": "error", "error": {"type": "api_error", "message": ERROR}}
            name = b"event: error\n"
        elif self.dialect == "responses" and self.stream:
            body = {"type": "error", "code": "server_error", "message": ERROR, "param": None, "sequence_number": 9}
            name = b"event: error\n"
        data = json.dumps(body).encode()
        return name + b"data: " + data + b"\n\n" if self.stream else data

    def unfinished(self, how: str) -> "Spoken":
        """Without what says that the answer is whole: a stream's last event; of a body the member, which is null or
        gone.
        """
        if self.stream:
            return replace(self, ending=self.ending[:-1])
        known = {"chat": b'"finish_reason": "stop"', "responses": b'"status": "completed", "error"'}
        member = known.get(self.dialect, b'"stop_reason": "end_turn"')
        null = {"responses": b'"status": null, "error"'}.get(self.dialect, member.split(b":")[0] + b": null")
        gone = {"responses": b'"error"'}.get(self.dialect, b'"x": 0')
        return self._changed(member, null if how == "null" else gone)

    def finished_twice(self) -> "Spoken":
        """A body whose end stands in it twice."""
        known = {"chat": b'"finish_reason": "stop"', "responses": b'"status": "completed"'}
        member = known.get(self.dialect, b'"stop_reason": "end_turn"')
        return self._changed(member, member + b", " + member)

    def _changed(self, old: bytes, new: bytes) -> "Spoken":
        assert old in self.body, (old, self.body)
        parts = (tuple(part.replace(old, new) for part in parts) for parts in (self.opening, self.tokens, self.ending))
        return Spoken(self.dialect, self.stream, *parts)


def spoken(dialect: str, *, stream: bool) -> Spoken:
    """The good answer."""
    wire = _wire(dialect, stream)
    frames = [step for step in wire.steps if isinstance(step, bytes)]
    if not stream:
        start = frames[0].index(b"Gr")
        end = frames[0].index(b"whole.") + len(b"whole.")
        text, third = frames[0][start:end], (end - start) // 3
        parts = (text[:third], text[third : 2 * third], text[2 * third :])
        return Spoken(dialect, stream, (frames[0][:start],), parts, (frames[0][end:],))
    marks = [number for number, frame in enumerate(frames) if b"elta" in frame and _says(frame)]
    first, last = marks[0], marks[-1] + 1
    return Spoken(dialect, stream, tuple(frames[:first]), tuple(frames[first:last]), tuple(frames[last:]))


def _says(frame: bytes) -> bool:
    data = json.loads(frame.split(b"data: ", 1)[1])
    if "choices" in data:
        return bool(data["choices"] and data["choices"][0]["delta"].get("content"))
    return data["type"] in {"response.output_text.delta", "content_block_delta"}


def _wire(dialect: str, stream: bool) -> Wire:
    if dialect == "chat":
        # As a server that escapes nothing, so that characters can be cut.
        whole = json.dumps(json.loads(SAY.whole("m").steps[0]), ensure_ascii=False).encode()  # type: ignore[arg-type]
        return SAY.streamed("m", include_usage=True) if stream else Wire((whole,))
    module = responses_replies if dialect == "responses" else messages_replies
    if stream:
        return module.streamed(SAY, "m", 1, "")
    body = module.whole(SAY, "m", 1, "").steps[0]
    return Wire((json.dumps(json.loads(body), ensure_ascii=False).encode(),))  # type: ignore[arg-type]
