"""The answer every benchmark plays: the same tokens for every proxy, so that the client can tell if one was lost."""

from __future__ import annotations

import json
from typing import Literal

Shape = Literal["text", "tool"]

FIRST_TOKEN = "Beginning "  # occurs once: its arrival is the "first token" of the latency rows
_WORDS = ["the ", "quick ", "brown ", "fox", ", ", "jumps", " over ", "the ", "lazy", " dog; ", "über ", "\n"]
_HEAD = {"id": "chatcmpl-BenchBenchBenchBench", "object": "chat.completion.chunk", "created": 1763836800, "model": "m"}
_CALL = {"index": 0, "id": "call_bench0000000000000001", "type": "function"}
DONE = b"data: [DONE]\n\n"


def token(index: int) -> str:
    """Text of token `index`, 5 characters on average, some outside ASCII, some that JSON escapes."""
    return FIRST_TOKEN if index == 0 else _WORDS[index % len(_WORDS)]


def text(tokens: int) -> str:
    """The whole answer of `tokens` tokens."""
    return "".join(map(token, range(tokens)))


def arguments(tokens: int) -> str:
    """The JSON arguments of a tool call streamed in `tokens` fragments."""
    return "".join(_fragments(tokens))


def _fragments(tokens: int) -> list[str]:
    inner = [json.dumps(token(index))[1:-1] for index in range(tokens)]
    inner[0] = '{"content":"' + inner[0]
    inner[-1] += '"}'
    return inner


def _sse(chunk: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(_HEAD | chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _delta(delta: dict[str, object], finish_reason: str | None = None) -> bytes:
    return _sse({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]})


def _usage(tokens: int) -> dict[str, object]:
    return {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}


def events(shape: Shape, tokens: int) -> tuple[bytes, list[bytes], bytes]:
    """A Chat Completions stream as server-sent events: what opens it, one event per token, what ends it."""
    if shape == "text":
        opening = _delta({"role": "assistant", "content": ""})
        middle = [_delta({"content": token(index)}) for index in range(tokens)]
    else:
        call = _CALL | {"function": {"name": "Write", "arguments": ""}}
        opening = _delta({"role": "assistant", "content": None, "tool_calls": [call]})
        middle = [
            _delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in _fragments(tokens)
        ]
    reason = "stop" if shape == "text" else "tool_calls"
    return opening, middle, _delta({}, reason) + _sse({"choices": [], "usage": _usage(tokens)}) + DONE


def response(shape: Shape, tokens: int) -> bytes:
    """The same answer, not streamed."""
    message: dict[str, object] = {"role": "assistant", "content": text(tokens)}
    if shape == "tool":
        call = {"id": _CALL["id"], "type": "function", "function": {"name": "Write", "arguments": arguments(tokens)}}
        message |= {"content": None, "tool_calls": [call]}
    reason = "stop" if shape == "text" else "tool_calls"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    whole = _HEAD | {"object": "chat.completion", "choices": [choice], "usage": _usage(tokens)}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
