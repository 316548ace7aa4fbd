"""The laws of answers (1-6), for the dialects and the stages between them: `docs/architecture.md`.

`make test` runs the same examples everywhere; `make fuzz` looks for new ones.
"""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.dialects.messages import encoder as messages
from latimer.dialects.messages.decoder import decode_response
from latimer.dialects.think_tags import ThinkSplitter
from latimer.errors import Failure
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
    check,
)
from latimer.stages import OneCall, Stage, StopSequences
from tests import reading, strategies
from tests.reading import Upstream

LOST = Failure("api_error", "the connection was lost")
Read = Callable[[list[bytes]], list[Event]]
UPSTREAMS = st.sampled_from(list(reading.UPSTREAMS.values()))
"""Every law of upstream answers is tried with each dialect, the examples shared among them."""
OPENAIS = st.sampled_from([reading.CHAT, reading.RESPONSES])
"""Those in which reasoning may be written as text, and which the `openai` SDK reads."""
READERS = st.sampled_from([reading.READER, reading.TAG_READER, reading.HIDDEN_READER])


def heading(start: Event) -> messages.Heading:
    assert isinstance(start, Start)
    return messages.Heading(start.id, start.model, "req_1")


def messages_stream(events: list[Event], *, hide: bool = False) -> bytes:
    encoder = messages.StreamEncoder(messages.Heading("msg_1", "claude", "req_1", hide_thinking=hide))
    if isinstance(events[0], Start):
        encoder = messages.StreamEncoder(heading(events[0]))
        if hide:
            encoder = messages.StreamEncoder(replace(heading(events[0]), hide_thinking=True))
    return b"".join(encoder.encode(event) for event in events)


chat_stream = reading.CHAT.stream


def answer_of(data: st.DataObject, upstream: Upstream) -> list[Event]:
    """What this dialect can say."""
    return data.draw(strategies.ANSWERS[upstream.name])


def bytes_of(data: st.DataObject, upstream: Upstream) -> bytes:
    """What looks like it, or not at all."""
    return data.draw(strategies.BYTES[upstream.name] | strategies.JUNK)


def as_decoded(events: list[Event], upstream: Upstream) -> list[Event]:
    """The same answer with what only a decoder knows: its own estimate, and a signature for each reasoning."""
    start = events[0]
    assert isinstance(start, Start)
    if upstream is not reading.MESSAGES:
        start = replace(start, usage=Usage(reading.ASKED.input_estimate))
    return reading.sealed([start, *events[1:]], upstream)


def staged(events: list[Event], *stages: Stage) -> list[Event]:
    for stage in stages:
        events = [out for event in events for out in stage.pass_on(event)]
    return events


# --- law 1: grammar -------------------------------------------------------------------------------------------------


@given(st.data(), UPSTREAMS, READERS)
def test_grammar_of_any_bytes(data: st.DataObject, upstream: Upstream, reader: Any) -> None:
    body = bytes_of(data, upstream)
    check(upstream.read(data.draw(strategies.splits(body)), reader))


@given(st.data(), UPSTREAMS, st.booleans())
def test_grammar_of_spoiled_answers(data: st.DataObject, upstream: Upstream, whole: bool) -> None:
    events = answer_of(data, upstream)
    body = upstream.whole(events) if whole else upstream.stream(events)
    check(upstream.read([data.draw(strategies.spoiled(body))], reading.TAG_READER))


@given(st.data(), UPSTREAMS, st.integers(0, 400))
def test_grammar_of_a_lost_connection(data: st.DataObject, upstream: Upstream, at: int) -> None:
    decoder = upstream.decoder(reading.TAG_READER)
    events = decoder.decode(bytes_of(data, upstream)[:at])
    check(events + decoder.fail(LOST) if not events or not ended(events[-1]) else events)
    assert decoder.fail(LOST) == decoder.flush() == []


def ended(event: Event) -> bool:
    return isinstance(event, Finish | Failure)


@given(st.data(), strategies.MESSAGES_BYTES | strategies.JUNK)
def test_grammar_of_any_messages_bytes(data: st.DataObject, body: bytes) -> None:
    check(reading.read_messages(data.draw(strategies.splits(body))))
    check(decode_response(body))


@given(st.data(), strategies.messages_answers())
def test_grammar_of_spoiled_messages_answers(data: st.DataObject, events: list[Event]) -> None:
    check(reading.read_messages([data.draw(strategies.spoiled(messages_stream(events)))]))
    whole = messages.encode_response(events, heading(events[0]))
    check(decode_response(data.draw(strategies.spoiled(whole))))


@given(strategies.answers(), st.lists(strategies.SPOKEN, max_size=3), st.booleans())
def test_grammar_is_kept_by_stages(events: list[Event], sequences: list[str], one_call: bool) -> None:
    stages: list[Stage] = [OneCall()] if one_call else []
    check(staged(events, *stages, StopSequences(sequences, 0)))


@given(strategies.answers())
def test_one_call_passes_at_most_one_call_and_all_else(events: list[Event]) -> None:
    def blocks(of: list[Event], *, calls: bool) -> list[Any]:
        starts = (event.block for event in of if isinstance(event, BlockStart))
        return [block for block in starts if isinstance(block, ToolCall) == calls]

    passed = staged(events, OneCall())
    assert blocks(passed, calls=True) == blocks(events, calls=True)[:1]
    assert blocks(passed, calls=False) == blocks(events, calls=False)


DEEP = b'{"choices":[{"delta":{"content":' + b"[" * 100_000
DEEP_BODIES = [
    DEEP,
    b"data: " + DEEP + b"\n\n",
    DEEP.replace(b"choices", b"type"),
    DEEP.replace(b"choices", b"output"),
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", DEEP_BODIES)
def test_grammar_of_bottomless_nesting(body: bytes) -> None:
    upstreams = [upstream.read([body]) for upstream in reading.UPSTREAMS.values()]
    for events in (*upstreams, reading.read_messages([body]), decode_response(body)):
        check(events)
        assert isinstance(events[-1], Failure)


# --- law 2: round trip ----------------------------------------------------------------------------------------------


@given(strategies.messages_answers())
def test_round_trip_of_messages(events: list[Event]) -> None:
    assert reading.read_messages([messages_stream(events)]) == events


@given(strategies.STARTS, strategies.FAILURES)
def test_round_trip_of_a_failure(start: Start, failure: Failure) -> None:
    assert reading.read_messages([messages_stream([start, failure])]) == [start, failure]
    assert decode_response(messages.encode_response([start, failure], heading(start))) == [failure]


@given(st.data(), UPSTREAMS)
def test_round_trip_of_upstreams(data: st.DataObject, upstream: Upstream) -> None:
    """OpenAI's cannot say the start's usage, stop sequences and opaque blocks, chat no signatures; decoders sign."""
    events = answer_of(data, upstream)
    assert upstream.read([upstream.stream(events)]) == as_decoded(events, upstream)


@given(st.data(), UPSTREAMS)
def test_round_trip_with_think_tags(data: st.DataObject, upstream: Upstream) -> None:
    """Looking for a tag may join deltas at the very start, and never changes what was said, unless a tag is there."""
    events = answer_of(data, upstream)
    first = next((event.data.lstrip() for event in reading.merged(events) if isinstance(event, Delta)), "")
    if not first.startswith("<think>"):
        read = upstream.read([upstream.stream(events)], reading.TAG_READER)
        assert reading.merged(read) == reading.merged(as_decoded(events, upstream))


@given(OPENAIS, strategies.SPOKEN, strategies.SPOKEN.filter(lambda text: text == text.lstrip()))
def test_think_tags_are_reasoning(upstream: Upstream, thought: str, text: str) -> None:
    if "</think>" in thought:
        return
    said = f"\n<think>{thought}</think>\n\n{text}"
    events = [Start("", ""), BlockStart(0, Text()), Delta(0, said), BlockStop(0), Finish("stop", Usage())]
    read = reading.fold(upstream.read([upstream.stream(events)], reading.TAG_READER))
    assert [(type(block.block), block.said) for block in read[1:-1]] == [(Reasoning, thought), (Text, text)]


# --- law 3: split invariance ----------------------------------------------------------------------------------------


def assert_splits_do_not_matter(data: st.DataObject, body: bytes, read: Read) -> None:
    assert read(data.draw(strategies.splits(body))) == read([body])


@given(st.data(), UPSTREAMS, READERS)
def test_splits_of_answers(data: st.DataObject, upstream: Upstream, reader: Any) -> None:
    events = answer_of(data, upstream)
    stream = data.draw(strategies.reframed(upstream.stream(events)))
    assert_splits_do_not_matter(data, stream, lambda chunks: upstream.read(chunks, reader))
    assert_splits_do_not_matter(data, upstream.whole(events), lambda chunks: upstream.read(chunks, reader))


@given(st.data(), UPSTREAMS)
def test_splits_of_any_bytes(data: st.DataObject, upstream: Upstream) -> None:
    assert_splits_do_not_matter(data, bytes_of(data, upstream), upstream.read)


@pytest.mark.parametrize("upstream", reading.UPSTREAMS.values(), ids=lambda upstream: upstream.name)
@pytest.mark.parametrize("body", [b"\xef\xbb\xbfdata: {}\n\n", b" data: {}\n\n"])
def test_splits_before_the_stream(upstream: Upstream, body: bytes) -> None:
    assert upstream.read([body[:1], body[1:]]) == upstream.read([body])


@given(st.data(), strategies.messages_answers())
def test_splits_of_messages(data: st.DataObject, events: list[Event]) -> None:
    stream = data.draw(strategies.reframed(messages_stream(events)))
    assert_splits_do_not_matter(data, stream, reading.read_messages)
    assert reading.read_messages([stream]) == events


@given(st.data(), strategies.MESSAGES_BYTES | strategies.JUNK)
def test_splits_of_any_messages_bytes(data: st.DataObject, body: bytes) -> None:
    assert_splits_do_not_matter(data, body, reading.read_messages)


FEW_LETTERS = st.text("abc", min_size=1, max_size=8)


@given(st.data(), FEW_LETTERS, st.lists(FEW_LETTERS, min_size=1, max_size=3))
def test_splits_of_text_for_stop_sequences(data: st.DataObject, text: str, sequences: list[str]) -> None:
    def shown(parts: list[str]) -> tuple[str, str | None]:
        answer = [Start("", ""), BlockStart(0, Text()), *(Delta(0, part) for part in parts), BlockStop(0)]
        events = staged([*answer, Finish("stop", Usage())], StopSequences(sequences, 0))
        last = events[-1]
        assert isinstance(last, Finish)
        return "".join(event.data for event in events if isinstance(event, Delta)), last.stop_sequence

    told, matched = shown(data.draw(strategies.pieces(text)))
    assert (told, matched) == shown([text])
    assert not any(sequence in told for sequence in sequences)
    assert text.startswith(told + (matched or ""))
    assert (matched is None) == (told == text)


@given(st.data(), strategies.TEXTS.map(lambda text: f"<think>{text}"))
def test_splits_of_text_for_think_tags(data: st.DataObject, text: str) -> None:
    def split(parts: list[str]) -> dict[str, str]:
        splitter, found = ThinkSplitter(), {"reasoning": "", "text": ""}
        for kind, said in [piece for part in parts for piece in splitter.split(part)] + splitter.flush():
            found[kind] += said
        return found

    assert split(data.draw(strategies.pieces(text))) == split([text])


# --- law 4: fold ----------------------------------------------------------------------------------------------------


@given(strategies.messages_answers())
def test_fold_of_messages(events: list[Event]) -> None:
    """A whole message has no deltas, so those without a word in the hub (citations) are left out of it."""
    events = [event for event in events if not isinstance(event, OpaqueDelta)]
    whole = decode_response(messages.encode_response(events, heading(events[0])))
    assert reading.fold(whole) == reading.fold(reading.read_messages([messages_stream(events)]))


@given(st.data(), UPSTREAMS, READERS)
def test_fold_of_upstreams(data: st.DataObject, upstream: Upstream, reader: Any) -> None:
    """A whole chat answer has one field for each kind, so the order it can say is reasoning, text, calls."""
    events = data.draw(strategies.CANONICAL[upstream.name])
    whole = upstream.read([upstream.whole(events)], reader)
    assert reading.fold(whole) == reading.fold(upstream.read([upstream.stream(events)], reader))


@given(strategies.messages_answers(opaque=False), st.booleans())
def test_fold_as_the_client_sees_it(events: list[Event], hide: bool) -> None:
    """The SDK makes the same message of a stream and of the whole answer."""
    head = replace(heading(events[0]), hide_thinking=hide)
    whole = json.loads(messages.encode_response(events, head))
    streamed = reading.sdk_message(messages_stream(events, hide=hide)).to_dict(mode="json")
    assert comparable(streamed) == comparable(whole)


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """The SDK keeps the start's cache breakdown, and adds fields of its own; neither is ours to decide."""
    counts = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    usage = {name: message["usage"][name] for name in counts}
    content = [{k: v for k, v in block.items() if v is not None} for block in message["content"]]
    fields = ("id", "model", "role", "stop_reason", "stop_sequence", "stop_details")
    return {name: message.get(name) for name in fields} | {"usage": usage, "content": content}


# --- law 5: truncation ----------------------------------------------------------------------------------------------


@given(st.data(), strategies.messages_answers())
def test_truncation_of_messages(data: st.DataObject, events: list[Event]) -> None:
    stream = messages_stream(events)
    mark = stream.rindex(b'"message_stop"}') + len(b'"message_stop"}')
    at = data.draw(st.integers(0, len(stream)))
    ending = reading.read_messages([stream[:at]])[-1]
    assert ending == events[-1] if at >= mark else isinstance(ending, Failure)
    whole = messages.encode_response(events, heading(events[0]))
    assert isinstance(decode_response(whole[: data.draw(st.integers(0, len(whole) - 1))])[-1], Failure)


@given(st.data(), strategies.chat_answers(), st.booleans())
def test_truncation_of_chat(data: st.DataObject, events: list[Event], lost: bool) -> None:
    """The terminal mark is the chunk with the finish reason. After it only usage may be missing."""
    stream = chat_stream(events)
    last = stream.rindex(b'"finish_reason":"')
    assert_truncation_fails(data, reading.CHAT, stream, stream.index(b"\n", last), lost=lost)


@given(st.data(), strategies.responses_answers(), st.booleans())
def test_truncation_of_responses(data: st.DataObject, events: list[Event], lost: bool) -> None:
    """The terminal mark is the last event, which has everything."""
    stream = reading.RESPONSES.stream(events)
    assert_truncation_fails(data, reading.RESPONSES, stream, len(stream) - 2, lost=lost)


@given(st.data(), strategies.messages_answers(), st.booleans())
def test_truncation_of_an_upstreams_messages(data: st.DataObject, events: list[Event], lost: bool) -> None:
    """The terminal mark is `message_stop`: a `stop_reason` before it is not enough."""
    stream = reading.MESSAGES.stream(events)
    assert_truncation_fails(data, reading.MESSAGES, stream, len(stream) - 2, lost=lost)


def assert_truncation_fails(data: st.DataObject, upstream: Upstream, stream: bytes, mark: int, *, lost: bool) -> None:
    at = data.draw(st.integers(0, len(stream)))
    decoder = upstream.decoder(reading.READER)
    read = decoder.decode(stream[:at])
    read += decoder.fail(LOST) if lost else decoder.flush()
    check(read)
    assert isinstance(read[-1], Finish if at >= mark + 2 or (at >= mark and not lost) else Failure)


@given(st.data(), UPSTREAMS)
def test_truncation_of_a_whole_answer(data: st.DataObject, upstream: Upstream) -> None:
    whole = upstream.whole(data.draw(strategies.CANONICAL[upstream.name]))
    assert isinstance(upstream.read([whole[: data.draw(st.integers(0, len(whole) - 1))]])[-1], Failure)


# --- law 6: strict out ----------------------------------------------------------------------------------------------


@given(strategies.answers(), st.booleans())
def test_messages_sdk_reads_every_stream(events: list[Event], hide: bool) -> None:
    events = without_arguments(events)
    stream = messages_stream(events, hide=hide)
    assert_strict(stream)
    if isinstance(events[-1], Failure):
        with pytest.raises(anthropic.APIStatusError) as raised:
            reading.sdk_message(stream)
        assert raised.value.body == messages.encode_failure(events[-1], "req_1")
        return
    read = reading.sdk_message(stream)
    kinds = [event.block for event in events if isinstance(event, BlockStart) and carried(event)]
    assert len(read.content) == len(kinds)
    for block, kind in zip(read.content, kinds, strict=True):
        assert isinstance(kind, Opaque) or block.type == messages._empty(kind)["type"]


def without_arguments(events: list[Event]) -> list[Event]:
    """Text that is no JSON in a call breaks the SDK; decoders only pass what they have seen to begin as an object."""
    calls = {event.index for event in events if isinstance(event, BlockStart) and isinstance(event.block, ToolCall)}
    return [event for event in events if not (isinstance(event, Delta) and event.index in calls)]


def carried(event: BlockStart) -> bool:
    return not isinstance(event.block, Opaque) or event.block.dialect == "messages"


FITTING = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}
"""Deltas that fit a block: Claude Code aborts on any other (measured, 2.1.330)."""


def assert_strict(stream: bytes) -> None:
    """Framing as Anthropic's own, comments aside: a name and one line of data that repeats it; deltas that fit."""
    index, kind = -1, ""
    for frame in stream.decode().split("\n\n")[:-1]:
        name, data = (line for line in frame.split("\n") if not line.startswith(":"))
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] == "content_block_start":
            index += 1
            kind = event["content_block"]["type"]
        if "index" in event:
            assert event["index"] == index
        if event["type"] == "content_block_delta" and kind in FITTING:
            own = event["delta"]["type"].endswith("_delta")
            assert not own or event["delta"]["type"] in FITTING[kind]


@given(strategies.messages_answers())
def test_messages_sdk_reads_what_was_said(events: list[Event]) -> None:
    content = reading.sdk_message(messages_stream(events)).content
    folded = [block for block in reading.fold(events) if isinstance(block, reading.Folded)]
    for read, told in zip(content, folded, strict=True):
        match told.block:
            case Text():
                assert read.text == told.said
            case Reasoning():
                assert (read.thinking, read.signature) == (told.said, told.signature or "")
            case ToolCall(id=id, name=name):
                assert (read.id, read.name, read.input) == (id, name, told.arguments)


CUT = ("length", "pause", "content_filter")
"""Endings that leave arguments as they were when the model was stopped."""


@given(st.data(), UPSTREAMS)
def test_messages_sdk_reads_every_answer_of_an_upstream(data: st.DataObject, upstream: Upstream) -> None:
    events = upstream.read([bytes_of(data, upstream)], reading.TAG_READER)
    stream = messages_stream(events)
    assert_strict(stream)
    if isinstance(events[-1], Failure):
        with pytest.raises((anthropic.APIStatusError, ValueError)):
            reading.sdk_message(stream)
    elif events[-1].reason not in CUT:
        reading.sdk_message(stream)
    json.loads(messages.encode_response(events, messages.Heading("msg_1", "claude", "req_1")))


@given(strategies.chat_answers() | strategies.messages_answers())
def test_chat_sdk_reads_every_stream(events: list[Event]) -> None:
    choice = reading.sdk_completion(chat_stream(events)).choices[0]
    told = [block for block in reading.fold(events) if isinstance(block, reading.Folded)]
    assert (choice.message.content or "") == "".join(b.said for b in told if isinstance(b.block, Text))
    called = [block for block in told if isinstance(block.block, ToolCall)]
    for read, call in zip(choice.message.tool_calls or [], called, strict=True):
        assert isinstance(call.block, ToolCall)
        assert (read.id, read.function.name) == (call.block.id, call.block.name)
        assert json.loads(read.function.arguments or "{}") == call.arguments


@given(strategies.responses_answers() | strategies.messages_answers())
def test_responses_sdk_reads_every_stream(events: list[Event]) -> None:
    response = reading.sdk_response(reading.RESPONSES.stream(events))
    told = [block for block in reading.fold(events) if isinstance(block, reading.Folded)]
    assert response.output_text == "".join(block.said for block in told if isinstance(block.block, Text))
    calls = [item for item in response.output if item.type == "function_call"]
    called = [block for block in told if isinstance(block.block, ToolCall)]
    for read, call in zip(calls, called, strict=True):
        assert isinstance(call.block, ToolCall)
        assert (read.call_id, read.name) == (call.block.id, call.block.name)
        assert json.loads(read.arguments) == call.arguments


SDKS: dict[str, tuple[Callable[[bytes], Any], Any]] = {
    "chat": (reading.sdk_completion, openai.types.chat.ChatCompletion),
    "responses": (reading.sdk_response, openai.types.responses.Response),
}


@given(strategies.answers(), OPENAIS)
def test_openai_sdk_reads_any_events(events: list[Event], upstream: Upstream) -> None:
    streamed, whole = SDKS[upstream.name]
    if isinstance(events[-1], Failure):
        with pytest.raises(openai.APIError):
            streamed(upstream.stream(events))
    else:
        streamed(upstream.stream(events))
        whole.model_validate_json(upstream.whole(events))
