"""Which call a fragment belongs to, and the parts that reasoning comes in: Chat Completions has no brackets."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, json

from latimer.dialects.arguments import is_object
from latimer.dialects.segments import Kind, Segment
from latimer.wire import chat as wire


class CallFinder:
    """Which call a fragment belongs to. Servers leave out, repeat or reuse indexes, ids and names."""

    def __init__(self) -> None:
        self._calls: list[Segment] = []

    def find(self, delta: wire.ToolCallDelta) -> tuple[Segment, bool]:
        """The call, and whether it is new."""
        given_id = "" if delta.id is None else str(delta.id)
        name = (delta.function.name if delta.function else None) or ""
        call = self._known(delta.index, given_id)
        if call is None or self._begins_anew(call, given_id, name):
            call = Segment("call")
            call.number, call.id, call.name = delta.index, given_id, name
            self._calls.append(call)
            return call, True
        call.id = call.id or given_id
        if name and name != call.name and not call.parts:
            call.name += name  # a name may be split as arguments are
        return call, False

    def _known(self, index: int | None, given_id: str) -> Segment | None:
        if index is not None:
            return next((call for call in reversed(self._calls) if call.number == index), None)
        if given_id:
            return next((call for call in self._calls if call.id == given_id), None)
        return self._calls[-1] if self._calls else None

    @staticmethod
    def _begins_anew(call: Segment, given_id: str, name: str) -> bool:
        if given_id and call.id and given_id != call.id:
            return True
        if name and not given_id and call.parts:
            return is_object(call.text)
        return False


def merge_details(details: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    """OpenRouter streams `reasoning_details` in fragments: those of one index and type are one entry, its texts joined.

    https://openrouter.ai/docs/use-cases/reasoning-tokens: entries must go back unmodified and in order.
    """
    for fragment in new:
        last = details[-1] if details else None
        same = last is not None and all(last.get(key) == fragment.get(key) for key in ("index", "type"))
        if last is None or not same or fragment.get("index") is None:
            details.append(dict(fragment))
            continue
        for key, value in fragment.items():
            if key in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(key), str):
                last[key] += value
            elif value is not None:
                last[key] = value


def part_texts(parts: list[Raw]) -> list[tuple[Kind, str]]:
    """List-valued content (Mistral): text parts, and thinking parts that nest text parts."""
    pieces: list[tuple[Kind, str]] = []
    for raw in parts:
        part = json.decode(raw, type=wire.TextPart)
        if part.type != "thinking":
            pieces.append(("text", part.text))
        elif isinstance(part.thinking, str):
            pieces.append(("reasoning", part.thinking))
        else:
            pieces.append(
                ("reasoning", "".join(json.decode(inner, type=wire.TextPart).text for inner in part.thinking))
            )
    return pieces
