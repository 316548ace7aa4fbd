"""How a provider puts what the model says on the wire: the oddities of Chat Completions streams, as data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.scenarios.checking import Json
from tests.scenarios.replies import Call, Say, Wire, pieces

STREAM = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True)
class Style:
    """One server's ways. The defaults are OpenAI's own."""

    reasoning: str = "reasoning_content"
    """A field, `think_tags` or `thought_tags` in the content, `details` (OpenRouter's
    reasoning_details), `plain_details` (MiniMax's, unsigned), `parts`, or `none`."""
    calls: str = "pieces"
    """`pieces`: arguments over several chunks; `whole`: a chunk for each call; `together`: one chunk for all."""
    index: str = "ordinal"
    """`ordinal`, `missing`, or `zero` for every call."""
    names: str = "first"
    """Whether the name of a call stands in its `first` chunk only, is `blank_later`, or `repeated`."""
    ids: str = "call"
    """`call`: OpenAI's; `kimi`: functions.NAME:N; `nine`: nine letters and digits; `google`: Gemini's."""
    usage: str = "asked"
    """`asked`: in a last chunk when asked for; `unasked`: always; `with_finish`; `early`: before a last empty chunk;
    `x_groq`, `choice`: in fields of the chunk with the finish reason."""
    signature: bool = False
    """Whether the first call has Gemini's thought signature."""
    joined: bool = False
    """Whether the last of the reasoning and the first of the text share a delta."""
    opaque: str = ""
    """A field of an opaque token beside the reasoning."""
    comment: str = ""
    """Written before the first chunk and in mid-stream."""
    crlf: bool = False
    tight: bool = False
    """Whether there is no space after `data:`."""
    filtered: bool = False
    """Whether the stream begins with Azure's chunk without choices, and ends with one that has no delta."""
    done: bool = True
    finish: str = ""
    """The finish reason of every answer, `missing` for none at all."""
    doubled: bool = False
    """Whether the finish reason is told twice, the usage after the first."""
    role: str = "first"
    """`first`, `every` or `never`: the chunks that name the role."""
    slice: int = 0
    """Bytes in one write, 0 for whole events."""
    bare: bool = False
    """Whether chunks have no `object`, `created` and `model`."""
    timings: bool = False
    """llama.cpp's timings in each chunk."""

    def named(self, say: Say) -> Say:
        """The same with the ids this server gives; those of `say` end in the call's number."""
        return replace(say, calls=tuple(self._named(call) for call in say.calls))

    def _named(self, call: Call) -> Call:
        number = int((call.id or "0").removeprefix("call_"))
        ids = {
            "kimi": f"functions.{call.name}:{number - 1}",
            "nine": f"aB{number:07d}",
            "google": f"function-call-{number:019d}",
        }
        return replace(call, id=ids.get(self.ids, call.id))

    def whole(self, say: Say, model: str, token: str) -> Wire:
        """The reply as one JSON body."""
        message: Json = {"role": "assistant"}
        for fields in (*self._thought(say, token, size=0), *self._text(say, size=0)):
            for name, value in fields.items():
                old = message.get(name)
                message[name] = old + value if isinstance(old, str) and isinstance(value, str) else value
        if self.reasoning == "parts" and say.reasoning:
            message["content"] = [_thinking(say.reasoning), {"type": "text", "text": say.text}]
        message.setdefault("content", None)
        if say.calls:
            message["tool_calls"] = [self._call(call, place, token) for place, call in enumerate(say.calls)]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(say)}
        body = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return Wire((json.dumps({**body, "usage": say.usage}).encode(),))

    def streamed(self, say: Say, model: str, token: str, *, include_usage: bool) -> Wire:
        """The reply as server-sent events."""
        chunks = list(self._chunks(say, token, include_usage=include_usage))
        frame: Json = {"id": "chat-1"}
        if not self.bare:
            frame |= {"object": "chat.completion.chunk", "created": 1, "model": model}
        if self.timings:
            frame["timings"] = {"cache_n": 0, "prompt_n": 9, "predicted_n": 3}
        lines = [json.dumps({**frame, **chunk}, ensure_ascii=False) for chunk in chunks]
        lines += ["[DONE]"] if self.done else []
        space, end = ("" if self.tight else " "), ("\r\n" if self.crlf else "\n")
        writes = [f"data:{space}{line}{end}{end}".encode() for line in lines]
        if self.comment:
            comment = f"{self.comment}{end}{end}".encode()
            writes = [comment, *writes[:2], comment, *writes[2:]]
        wire = Wire(tuple(writes), headers=STREAM)
        return wire.sliced(self.slice) if self.slice else wire

    def _chunks(self, say: Say, token: str, *, include_usage: bool) -> Iterator[Json]:
        usage = {"usage": say.usage} if include_usage or self.usage != "asked" else {}
        if self.filtered:
            yield {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
        if self.role == "first":
            yield _choice({"role": "assistant", "content": ""})
        for fields in self._deltas(say, token):
            yield _choice({"role": "assistant", **fields} if self.role == "every" else fields)
        last = _choice({}, self._finish(say))
        if self.usage == "x_groq":
            yield {**last, "x_groq": {"id": "req_1", **usage}}
        elif self.usage == "choice":
            last["choices"][0] |= usage
            yield last
        else:
            yield {**last, **usage} if self.usage == "with_finish" else last
        if self.usage in {"asked", "unasked", "early"} and usage:
            yield {"choices": [], **usage}
        if self.usage == "early":
            yield {"choices": []}
        if self.doubled:
            yield _choice({"content": ""}, self._finish(say))
        if self.filtered:
            yield {"id": "", "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}

    def _deltas(self, say: Say, token: str) -> Iterator[Json]:
        thought = list(self._thought(say, token, size=say.piece))
        text = list(self._text(say, size=say.piece))
        if self.joined and thought and text:
            text[0] = {**thought.pop(), **text[0]}
        yield from (*thought, *text)
        calls = [self._call(call, place, token) for place, call in enumerate(say.calls)]
        if self.calls == "together" and calls:
            yield {"tool_calls": calls}
        for call in calls if self.calls == "whole" else ():
            yield {"tool_calls": [call]}
        for call in calls if self.calls == "pieces" else ():
            arguments = call["function"].pop("arguments")
            yield {"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]}
            later = {"blank_later": {"name": ""}, "repeated": {"name": call["function"]["name"]}}.get(self.names, {})
            place = {"index": call["index"]} if "index" in call else {}
            for piece in pieces(arguments, say.piece):
                yield {"tool_calls": [{**place, "function": {**later, "arguments": piece}}]}

    def _thought(self, say: Say, token: str, size: int) -> Iterator[Json]:
        if not say.reasoning or self.reasoning == "none":
            return
        parts = list(pieces(say.reasoning, size or len(say.reasoning)))
        if self.reasoning in {"think_tags", "thought_tags"}:
            word = self.reasoning.removesuffix("_tags")
            yield from ({"content": text} for text in (f"<{word}>", *parts, f"</{word}>"))
            return
        for place, part in enumerate(parts):
            if self.reasoning == "details":
                (detail,) = details(replace(say, reasoning=part), token if place == len(parts) - 1 else "")
                yield {"reasoning": part, "reasoning_details": [detail]}
            elif self.reasoning == "plain_details":
                yield {
                    "reasoning_details": [
                        {"type": "reasoning.text", "id": "reasoning-text-1", "index": 0, "text": part}
                    ]
                }
            elif self.reasoning == "parts":
                yield {"content": [_thinking(part)]}
            else:
                yield {self.reasoning: part}
        if self.opaque:
            yield {self.opaque: token}

    def _text(self, say: Say, size: int) -> Iterator[Json]:
        yield from ({"content": piece} for piece in pieces(say.text, size or max(1, len(say.text))))

    def _call(self, call: Call, place: int, token: str) -> Json:
        index = {"missing": {}, "zero": {"index": 0}}.get(self.index, {"index": place})
        extra: Json = {}
        if self.signature and place == 0:
            extra = {"extra_content": {"google": {"thought_signature": token}}}
        function = {"name": call.name, "arguments": call.text}
        return {**index, "id": call.id, "type": "function", "function": function, **extra}

    def _finish(self, say: Say) -> str | None:
        return None if self.finish == "missing" else self.finish or say.finish_reason


def details(say: Say, token: str) -> list[Json]:
    """OpenRouter's `reasoning_details`; the signature stands in the last piece only."""
    signature = {"signature": token} if token else {}
    text = {"type": "reasoning.text", "text": say.reasoning, "format": "anthropic-claude-v1", "index": 0}
    return [{**text, **signature}]


def _thinking(text: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _choice(delta: Json, finish: str | None = None) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
