"""The conversation as the classifier reads it: one JSON object a line, bounded, the newest kept.

JSON keeps each entry on its own line, and `<` is written as an escape, so nothing in a transcript can end it or pretend
to be another speaker. Who speaks is decided here, by where a text stands, never by what it says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Raw, Struct, json

from latimer.dialects.messages.request import Message
from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE

from .review import Call, Review

Speaker = Literal["user", "task", "harness", "summary", "assistant", "call", "result"]

MOST_CHARS: dict[Speaker, int] = {
    "user": 4000,
    "task": 4000,
    "harness": 400,
    "summary": 6000,
    "assistant": 800,
    "call": 8000,
    "result": 600,
}
"""Of one entry; what is longer loses its middle. Calls are kept long: a later one may run what an earlier one wrote."""
SHARES: tuple[tuple[frozenset[Speaker], float], ...] = (
    (frozenset({"user", "task", "summary"}), 0.5),
    (frozenset({"call"}), 0.8),
    (frozenset({"harness", "assistant", "result"}), 1.0),
)
"""Who gets room first, and up to which part of all: what the user wants decides most, what tools said least."""

SUMMARY = "This session is being continued from a previous conversation"
_REMINDER, _REMINDER_END = "<system-reminder>", "</system-reminder>"
_TAG = re.compile(r"\s*<([a-z][a-z-]*)>")
_TYPED_TAGS = frozenset({"command-name", "command-message", "command-args", "bash-input"})
"""Tags in which Claude Code puts what the user typed; in any other it puts what something else said."""


class Entry(Struct, frozen=True):
    """One line."""

    speaker: Speaker
    value: Any

    def line(self) -> str:
        """The entry as JSON without raw angle brackets."""
        return data({self.speaker: self.value})


def data(value: Any) -> str:
    """JSON in which no delimiter can stand."""
    return json.encode(value).decode().replace("<", "\\u003c").replace(">", "\\u003e")


def call_value(call: Call) -> dict[str, Any]:
    """A call as data."""
    return {"tool": call.name, "input": None if call.input is None else json.decode(call.input)}


def transcript(review: Review, room: int) -> str:
    """At most `room` characters of the conversation, up to the calls of the answer that is reviewed."""
    entries = [entry for message in review.request.messages for entry in _entries(message)]
    if review.delegated:
        entries = [Entry("task", entry.value) if entry.speaker == "user" else entry for entry in entries]
    entries += [Entry("call", _cut_value(call_value(call))) for call in review.calls]
    lines = [entry.line() for entry in entries]
    kept = _newest(entries, lines, room)
    parts: list[str] = []
    before = -1
    for place in sorted(kept):
        if place > before + 1:
            parts.append(_gap(place - before - 1))
        parts.append(lines[place])
        before = place
    if before + 1 < len(lines):
        parts.append(_gap(len(lines) - before - 1))
    text = "\n".join(parts)
    return text if len(text) <= room else ""


def _newest(entries: list[Entry], lines: list[str], room: int) -> set[int]:
    kept: set[int] = set()
    used = len(_gap(len(lines))) + 1
    for speakers, share in SHARES:
        for place in range(len(lines) - 1, -1, -1):
            if entries[place].speaker not in speakers:
                continue
            # Every entry may leave a gap beside it.
            cost = len(lines[place]) + len(_gap(len(lines))) + 2
            if used + cost > room * share:
                break
            kept.add(place)
            used += cost
    return kept


def _gap(count: int) -> str:
    return data({"omitted_entries": count})


def _entries(message: Message) -> Iterator[Entry]:
    for block in message.blocks:
        match block:
            case wire.TextBlock(text=text):
                yield from _texts(message.role, text)
            case wire.ToolUseBlock(name=name, input=raw):
                yield Entry("call", _cut_value(call_value(Call("", name, raw))))
            case wire.ToolResultBlock(content=content, is_error=failed):
                value = cut(_result_text(content), MOST_CHARS["result"])
                yield Entry("result", {"failed": value} if failed else value)
            case wire.ThinkingBlock() | wire.RedactedThinkingBlock():
                pass
            case _:
                yield Entry("harness", f"[{type(block).__name__.removesuffix('Block').lower()}]")


def _texts(role: str, text: str) -> Iterator[Entry]:
    if not text.strip():
        return
    if role == "assistant":
        yield Entry("assistant", cut(text, MOST_CHARS["assistant"]))
        return
    if role == "system":
        yield Entry("harness", cut(text, MOST_CHARS["harness"]))
        return
    typed, injected = _split(text)
    if injected:
        yield Entry("harness", cut(injected, MOST_CHARS["harness"]))
    if typed:
        speaker: Speaker = "summary" if typed.startswith(SUMMARY) else "user"
        yield Entry(speaker, cut(typed, MOST_CHARS[speaker]))


def _split(text: str) -> tuple[str, str]:
    """What the user typed, and what Claude Code put beside it. In doubt it is not the user's: that allows less."""
    start, end = text.find(_REMINDER), text.rfind(_REMINDER_END)
    if start < 0:
        typed, injected = text.strip(), ""
    else:
        stop = end + len(_REMINDER_END) if end > start else len(text)
        typed = (text[:start] + text[stop:].partition(_REMINDER)[0]).strip()
        injected = text[start:stop]
    tag = _TAG.match(typed)
    return ("", f"{typed}{injected}") if tag and tag[1] not in _TYPED_TAGS else (typed, injected)


def _result_text(content: str | list[Raw] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part_text(raw) for raw in content)


def _part_text(raw: Raw) -> str:
    try:
        part = json.decode(raw)
    except UNREADABLE:
        return "[unreadable]"
    if not isinstance(part, dict):
        return "[unreadable]"
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type')}]"


def _cut_value(value: Any) -> Any:
    """A call's value, or its JSON with the middle left out."""
    text = json.encode(value).decode()
    return value if len(text) <= MOST_CHARS["call"] else cut(text, MOST_CHARS["call"])


def cut(text: str, most: int) -> str:
    """At most about `most` characters: the beginning and the end, and how much is missing between them."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    tail = most - head
    return f"{text[:head]}[… {len(text) - most} characters left out …]{text[len(text) - tail :]}"
