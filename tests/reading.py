"""The official SDKs, fed with bytes instead of a server; and answers in a form that can be compared."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import anthropic
import httpx2
import openai
from anthropic.lib.streaming import MessageStream
from anthropic.types import Message, RawMessageStreamEvent
from msgspec import Struct
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from latimer.answer import Decoder
from latimer.dialects.chat import encoder as chat
from latimer.dialects.chat.request import encode_request as chat_request
from latimer.dialects.chat.response import ResponseDecoder as ChatDecoder
from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages import encoder as messages
from latimer.dialects.messages.decoder import StreamDecoder
from latimer.dialects.messages.native.request import encode_request as messages_request
from latimer.dialects.messages.request import Request
from latimer.dialects.messages.response import ResponseDecoder as MessagesDecoder
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.responses import encoder as responses
from latimer.dialects.responses.reasoning_items import sealed_item
from latimer.dialects.responses.request import encode_request as responses_request
from latimer.dialects.responses.response import ResponseDecoder
from latimer.dialects.sealing import Sealed, route_mark, seal, unseal
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
from latimer.profile import Dialect

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


def sdk_response(body: bytes) -> Response:
    """What the official SDK makes of a streamed Responses answer. Raises what it raises."""
    events: Any = openai.Stream(cast_to=ResponseStreamEvent, response=_response(body), client=_OPENAI)  # type: ignore[arg-type]
    read = [type(event).model_validate(event.model_dump(exclude_unset=True)) for event in events]
    if read[-1].type == "error":
        raise openai.APIError(read[-1].message, _response(b"").request, body=None)
    return Response.model_validate(read[-1].response.model_dump())


class MessagesEncoder:
    """What a Messages server streams: each answer by the name and id that it begins with."""

    def __init__(self) -> None:
        self._encoder: messages.StreamEncoder | None = None

    def encode(self, event: Event) -> bytes:
        self._encoder = self._encoder or messages.StreamEncoder(_heading(event))
        return self._encoder.encode(event)


def _heading(event: Event) -> messages.Heading:
    start = event if isinstance(event, Start) else Start("", "")
    return messages.Heading(start.id, start.model, "req_1")


def decoded(decoder: Decoder, data: bytes) -> list[Event]:
    """What the bytes cause, by the way that `Answer` takes through a decoder."""
    more = decoder.more(data)
    return decoder.decode(data) if more is None else [more]


class Upstream(Struct, frozen=True):
    """One upstream dialect, both ways. `said` is the field of a request that holds the conversation. `from_raw`: its
    requests are made of the client's bytes.
    """

    name: Dialect
    said: str
    encode_request: Callable[..., Outgoing]
    decoder: Callable[[Reader], Decoder]
    encoder: Callable[[], chat.StreamEncoder | responses.StreamEncoder | MessagesEncoder]
    whole: Callable[[list[Event]], bytes]
    from_raw: bool = False

    def request(self, request: Request, raw: bytes | None, **how: Any) -> Outgoing:
        """The request as it is sent; `raw` are the client's bytes where they say the same. Raises `Rejection`."""
        return self.encode_request(request, **how, **({"raw": raw} if self.from_raw else {}))

    def stream(self, events: Iterable[Event]) -> bytes:
        """The answer as this dialect streams it."""
        encoder = self.encoder()
        return b"".join([encoder.encode(event) for event in events])

    def read(self, chunks: Iterable[bytes], reader: Reader = READER) -> list[Event]:
        """The events of an answer, streamed or whole."""
        decoder = self.decoder(reader)
        events = [event for chunk in chunks for event in decoded(decoder, chunk)]
        return events + decoder.flush()


CHAT = Upstream("chat", "messages", chat_request, ChatDecoder, chat.StreamEncoder, chat.encode_response)
RESPONSES = Upstream(
    "responses", "input", responses_request, ResponseDecoder, responses.StreamEncoder, responses.encode_response
)
MESSAGES = Upstream(
    "messages",
    "messages",
    messages_request,
    MessagesDecoder,
    MessagesEncoder,
    lambda events: messages.encode_response(events, _heading(events[0])),
    from_raw=True,
)
UPSTREAMS: dict[Dialect, Upstream] = {upstream.name: upstream for upstream in (CHAT, RESPONSES, MESSAGES)}
read_chat = CHAT.read


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


def sealed(events: list[Event], upstream: Upstream = CHAT) -> list[Event]:
    """An answer as its decoder must report it: each reasoning block closed by a signature of this route, unless it has
    one by itself.
    """
    if upstream is MESSAGES:
        return events
    out: list[Event] = []
    block: BlockStart | None = None
    said = encrypted = ""
    for event in events:
        match event:
            case BlockStart():
                block, said, encrypted = event, "", ""
            case Delta(data=data):
                said += data
            case Signature(data=encrypted):
                continue
            case BlockStop() if block and isinstance(block.block, Reasoning):
                own = Sealed(route_mark(ROUTE)) if upstream is CHAT else _item(block.index, said, encrypted)
                out.append(Signature(event.index, seal(own)))
            case _:
                pass
        out.append(event)
    return out


def _item(index: int, said: str, encrypted: str) -> Sealed:
    """As the encoder writes it: a summary, and the item's place in its id."""
    return sealed_item(ROUTE, f"rs_{index}", encrypted, summary=[said] if said else [], content=[], shown=said)
