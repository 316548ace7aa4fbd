"""The official SDKs, fed with bytes instead of a server; and answers in a form that can be compared."""

import json
from collections.abc import Iterable
from typing import Any

import anthropic
import httpx2
import openai
from anthropic.lib.streaming import MessageStream
from anthropic.types import Message, RawMessageStreamEvent
from msgspec import Struct
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from latimer.dialects.chat.reasoning import Sealed, route_mark, seal, unseal
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages.decoder import StreamDecoder
from latimer.dialects.reader import Reader
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    ToolCall,
)

ROUTE = "mill/model"
ASKED = Asked(
    provider="mill",
    route=ROUTE,
    key_source="",
    model="claude",
    input_estimate=7,
    context_window=0,
    max_tokens=100,
)
READER = Reader(asked=ASKED, message_id="msg_1", names={}, think_tags=False)
TAG_READER = Reader(asked=ASKED, message_id="msg_1", names={})
HIDDEN_READER = Reader(asked=ASKED, message_id="msg_1", names={}, seal_text=True)

_CLAUDE = anthropic.Anthropic(api_key="none", base_url="http://localhost")
_OPENAI = openai.OpenAI(api_key="none", base_url="http://localhost")


def _response(body: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=body, request=httpx2.Request("POST", "http://localhost"))


def sdk_message(body: bytes) -> Message:
    """What the official SDK makes of a streamed Messages answer. Raises what it raises."""
    raw: Any = anthropic.Stream(cast_to=RawMessageStreamEvent, response=_response(body), client=_CLAUDE)  # type: ignore[arg-type]
    stream = MessageStream(raw, output_format=anthropic.NOT_GIVEN)
    stream.until_done()
    return stream.current_message_snapshot


def sdk_completion(body: bytes) -> Any:
    """What the official SDK makes of a streamed Chat Completions answer. Raises what it raises."""
    state = ChatCompletionStreamState()
    for chunk in openai.Stream(cast_to=ChatCompletionChunk, response=_response(body), client=_OPENAI):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk.model_dump(exclude_unset=True)))
    return state.current_completion_snapshot


def read_messages(chunks: Iterable[bytes]) -> list[Event]:
    """The events of a Messages stream."""
    decoder = StreamDecoder()
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


def read_chat(chunks: Iterable[bytes], reader: Reader = READER) -> list[Event]:
    """The events of a Chat Completions answer, streamed or whole."""
    decoder = ResponseDecoder(reader)
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


class Folded(Struct):
    """A block of an answer with its deltas joined."""

    block: Block
    said: str = ""
    arguments: Any = None
    signature: Sealed | str | None = None
    foreign: list[bytes] = []


def fold(events: Iterable[Event]) -> list[Any]:
    """The answer without how its deltas were cut: arguments parsed, signatures opened, the start's usage left out."""
    folded: list[Any] = []
    for event in events:
        match event:
            case Start(id=id, model=model):
                folded.append((id, model))
            case BlockStart(block=block):
                folded.append(Folded(block, foreign=[]))
            case Delta(data=data):
                folded[-1].said += data
            case Signature(data=data):
                folded[-1].signature = unseal(data, ROUTE) or data or None
            case OpaqueDelta(raw=raw):
                folded[-1].foreign.append(raw)
            case BlockStop():
                _settle(folded[-1])
            case ending:
                folded.append(ending)
    return folded


def _settle(block: Folded) -> None:
    if isinstance(block.block, ToolCall):
        block.arguments = json.loads(block.said or "{}")
        block.said = ""


def merged(events: list[Event]) -> list[Event]:
    """The events with neighbouring deltas joined and empty ones left out."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, Delta) and out and isinstance(out[-1], Delta):
            out[-1] = Delta(event.index, out[-1].data + event.data)
        elif not (isinstance(event, Delta) and not event.data):
            out.append(event)
    return out


def sealed(events: list[Event]) -> list[Event]:
    """A chat answer as its decoder must report it: each reasoning block closed by a signature of this route."""
    out: list[Event] = []
    thinking = False
    for event in events:
        if isinstance(event, BlockStart):
            thinking = isinstance(event.block, Reasoning)
        if isinstance(event, BlockStop) and thinking:
            out.append(Signature(event.index, seal(Sealed(route_mark(ROUTE)))))
        out.append(event)
    return out
