"""What came back of a question: bytes of any dialect, streamed or whole, as the few facts that a probe looks at.

The dialects' decoders smooth over what a probe wants to know (which field held the reasoning, whether usage came by
itself), so this reads beside them. It is lenient: what it does not understand it leaves out, and it never raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from latimer.dialects.errors.causes import cause_of
from latimer.dialects.errors.error_body import ErrorBody, holds_error, read_body, read_error, shown
from latimer.errors import Failure
from latimer.profile import Dialect
from latimer.wire import sse

Verdict = Literal["taken", "refused", "broken", "unasked"]
"""`refused`: because of what was asked. `broken`: for another reason, so nothing follows from it."""

REFUSALS = frozenset({400, 403, 404, 405, 410, 413, 415, 422, 501})
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "reasoning_details")
THINK_TAG = "<think>"
EVIDENCE = 160
"""Bytes of an upstream's own words that a table shows."""


class Called(Struct, frozen=True):
    """One tool call that the model made; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    @property
    def whole(self) -> bool:
        """Whether it can be run: a name, and one JSON object."""
        try:
            return bool(self.name) and isinstance(msgspec.json.decode(self.arguments or "{}"), dict)
        except msgspec.MsgspecError:
            return False


class Reply(Struct, frozen=True):
    """What came back of one question. `number` is the request's, 0 where the budget did not allow it.

    `status` is HTTP's, 0 when none came in time. `reasoning` is the field it came in. `usage`: whether tokens were
    counted; `input_tokens` and `cached_tokens` are those of the prompt. `complete`: whether the answer's end was said.
    """

    number: int = 0
    status: int = 0
    error: ErrorBody = ErrorBody()
    failure: Failure | None = None
    text: str = ""
    reasoning: str = ""
    calls: tuple[Called, ...] = ()
    usage: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    complete: bool = False

    @property
    def verdict(self) -> Verdict:
        """What became of the question."""
        if not self.number:
            return "unasked"
        if self.status == 200 and not self.failed:
            return "taken"
        status = (self.error.status or 400) if self.status == 200 else self.status
        # llama.cpp refuses images and templates with 500, and names its reason; others' 500 are accidents.
        named = status == 500 and cause_of(400, self.error) == "invalid" and "support" in self.error.message
        return "refused" if status in REFUSALS or named else "broken"

    @property
    def failed(self) -> bool:
        """Whether there is an error instead of an answer, whatever the status."""
        return self.error != ErrorBody()

    @property
    def said(self) -> str:
        """The upstream's own words of a refusal, safe to show."""
        if not self.status:
            return shown(self.failure.message, EVIDENCE) if self.failure else "no answer"
        words = shown(self.error.message, EVIDENCE)
        return f"status {self.status}: {words}" if words else f"status {self.status}"


def read_reply(dialect: Dialect, number: int, status: int, body: bytes) -> Reply:
    """The reply in an HTTP answer."""
    if status != 200:
        return Reply(number, status, read_body(body))
    seen = Reply(number, status)
    objects = list(_objects(body))
    for item in objects:
        if holds_error(item) or _failed_response(item):
            return replace(seen, error=read_error(item.get("response", item) if isinstance(item, dict) else item))
    known = [item for item in objects if isinstance(item, dict)]
    if not known:
        return replace(seen, error=read_body(body) if body else ErrorBody(message="an empty body"))
    match dialect:
        case "chat":
            return _chat(seen, known)
        case "messages":
            return _messages(seen, known)
        case "responses":
            return _responses(seen, known)


def _objects(body: bytes) -> Iterator[Any]:
    """The whole answer, or the events of a stream."""
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        if (whole := _json(text)) is not None:
            yield whole
        return
    decoder = sse.Decoder()
    try:
        events = [*decoder.decode(body), *decoder.flush()]
    except sse.EventTooLarge:
        return
    for event in events:
        if (item := _json(event.data)) is not None:
            yield item


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _failed_response(item: Any) -> bool:
    """Responses says in a stream's last event that it failed."""
    return isinstance(item, dict) and item.get("type") == "response.failed"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(*values: Any) -> int:
    return next((value for value in values if type(value) is int), 0)


def _chat(seen: Reply, objects: list[dict[str, Any]]) -> Reply:
    text, reasoning, complete = "", "", False
    calls: dict[Any, Called] = {}
    usage: dict[str, Any] = {}
    for item in objects:
        choice = _dict(next(iter(_list(item.get("choices"))), None))
        message = _dict(choice.get("message") or choice.get("delta"))
        content = message.get("content")
        text += (
            content if isinstance(content, str) else "".join(_dict(part).get("text") or "" for part in _list(content))
        )
        if any(_dict(part).get("type") == "thinking" for part in _list(content)):
            reasoning = reasoning or "thinking parts"
        reasoning = reasoning or next((name for name in REASONING_FIELDS if message.get(name)), "")
        complete = complete or bool(choice.get("finish_reason"))
        for place, call in enumerate(_list(message.get("tool_calls"))):
            key = _dict(call).get("index", place)
            calls[key] = _longer(calls.get(key, Called("", "", "")), _dict(call))
        usage = _dict(item.get("usage") or choice.get("usage") or _dict(item.get("x_groq")).get("usage")) or usage
    if not reasoning and text.lstrip().startswith(THINK_TAG):
        reasoning = THINK_TAG
    details = _dict(usage.get("prompt_tokens_details"))
    return replace(
        seen,
        text=text,
        reasoning=reasoning,
        calls=tuple(calls.values()),
        usage=bool(usage),
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(
            details.get("cached_tokens"), usage.get("cached_tokens"), usage.get("prompt_cache_hit_tokens")
        ),
        complete=complete,
    )


def _longer(call: Called, delta: dict[str, Any]) -> Called:
    function = _dict(delta.get("function"))
    arguments = function.get("arguments") or ""
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return Called(
        str(delta.get("id") or call.id), str(function.get("name") or call.name), call.arguments + str(arguments)
    )


def _messages(seen: Reply, objects: list[dict[str, Any]]) -> Reply:
    """Anthropic Messages: one message, or the events of its stream, brought to the blocks of one."""
    blocks: dict[Any, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    complete = False
    for item in objects:
        if item.get("type") == "message":
            blocks = {place: _dict(block) for place, block in enumerate(_list(item.get("content")))}
            complete = bool(item.get("stop_reason"))
        elif item.get("type") == "content_block_start":
            blocks[item.get("index")] = dict(_dict(item.get("content_block")))
        elif item.get("type") == "content_block_delta":
            _add(blocks.setdefault(item.get("index"), {}), _dict(item.get("delta")))
        complete = complete or item.get("type") == "message_stop"
        counted = {"input_tokens": item["input_tokens"]} if "input_tokens" in item else {}  # count_tokens
        usage = usage | _dict(item.get("usage") or _dict(item.get("message")).get("usage")) | counted
    found = list(blocks.values())
    calls = [
        Called(str(block.get("id") or ""), str(block.get("name") or ""), _input(block))
        for block in found
        if block.get("type") == "tool_use"
    ]
    cached = _count(usage.get("cache_read_input_tokens"))
    return replace(
        seen,
        text="".join(str(block.get("text") or "") for block in found if block.get("type") == "text"),
        reasoning="thinking" if any(block.get("type") == "thinking" for block in found) else "",
        calls=tuple(calls),
        usage=bool(usage),
        input_tokens=_count(usage.get("input_tokens")) + cached,
        cached_tokens=cached,
        complete=complete,
    )


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, into in (("text", "text"), ("partial_json", "partial_json")):
        if isinstance(delta.get(name), str):
            block[into] = str(block.get(into) or "") + delta[name]


def _input(block: dict[str, Any]) -> str:
    return str(block.get("partial_json") or "") or msgspec.json.encode(block.get("input") or {}).decode()


def _responses(seen: Reply, objects: list[dict[str, Any]]) -> Reply:
    """OpenAI Responses: the whole is repeated in a stream's last event; what ended before it stands in for a part."""
    items: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    complete = False
    for item in objects:
        whole = _dict(item.get("response")) if "response" in item else item
        if whole.get("status") in ("completed", "incomplete") and "output" in whole:
            items = [_dict(each) for each in _list(whole["output"])] or items
            usage, complete = _dict(whole.get("usage")), True
        elif item.get("type") == "response.output_item.done":
            items.append(_dict(item.get("item")))
    parts = [_dict(part) for item in items for part in _list(item.get("content"))]
    calls = [
        Called(str(item.get("call_id") or ""), str(item.get("name") or ""), str(item.get("arguments") or ""))
        for item in items
        if item.get("type") == "function_call"
    ]
    thought = _count(_dict(usage.get("output_tokens_details")).get("reasoning_tokens"))
    return replace(
        seen,
        text="".join(str(part.get("text") or "") for part in parts if part.get("type") == "output_text"),
        reasoning="reasoning items" if thought or any(item.get("type") == "reasoning" for item in items) else "",
        calls=tuple(calls),
        usage=bool(usage),
        input_tokens=_count(usage.get("input_tokens")),
        cached_tokens=_count(_dict(usage.get("input_tokens_details")).get("cached_tokens")),
        complete=complete,
    )
