"""An upstream's answer in Messages, read to be written anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.messages.decoder import decode_response
from latimer.dialects.messages.encoder import encode_response
from latimer.dialects.messages.response import ResponseDecoder
from latimer.errors import Failure
from latimer.events import Event, Finish, check
from tests import reading, strategies
from tests.test_laws import heading, messages_stream


def read(chunks: list[bytes]) -> list[Event]:
    decoder = ResponseDecoder(reading.READER)
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


@given(st.data(), strategies.messages_answers())
def test_a_stream_in_any_pieces_is_what_it_says(data: st.DataObject, events: list[Event]) -> None:
    body = messages_stream(events)
    assert read(data.draw(strategies.splits(body))) == reading.read_messages([body])


@given(st.data(), strategies.messages_answers())
def test_a_whole_message_in_any_pieces_is_what_it_says(data: st.DataObject, events: list[Event]) -> None:
    body = encode_response(events, heading(events[0]))
    assert read(data.draw(strategies.splits(body))) == decode_response(body)


@given(st.data(), strategies.MESSAGES_BYTES | strategies.JUNK)
def test_any_bytes_obey_the_grammar(data: st.DataObject, body: bytes) -> None:
    check(read(data.draw(strategies.splits(body))))


@given(st.data(), strategies.messages_answers())
def test_cut_anywhere_it_is_a_failure(data: st.DataObject, events: list[Event]) -> None:
    body = messages_stream(events)
    last = read([body[: data.draw(st.integers(0, len(body) - 32))]])[-1]
    assert isinstance(last, Failure)
    assert "mill/model" in last.message


def test_it_is_done_at_its_end_and_not_before() -> None:
    decoder = ResponseDecoder(reading.READER)
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"x"}}\n\n'
    ending = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
    decoder.decode(start + ending)
    assert (decoder.done, decoder.finished) == (False, False)
    assert isinstance(decoder.decode(b'data: {"type":"message_stop"}\n\n')[-1], Finish)
    assert decoder.done
    assert decoder.fail(Failure("api_error", "late")) == decoder.flush() == []


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n',
            "overloaded_error",
            "mill/model: busy.",
        ),
        (b'{"type":"error","error":{"type":"not_found_error","message":"no such thing"}}', "", "mill/model: "),
        (
            b'data: {"type":"error","error":{"type":"rate_limit_error","message":"slow"}}\n\n',
            "rate_limit_error",
            "slow.",
        ),
        (b'{"detail":"prompt is too long: 9 tokens > 8 maximum"}', "invalid_request_error", "prompt is too long: "),
        (b"<html>hello</html>", "api_error", "web page"),
        (b"", "api_error", "an empty body"),
        (b'{"type":"message"}', "api_error", "mill/model: an answer that is not Messages"),
        (b'{"type":"message","id":"m","model":"x","content":[{"type":"te', "api_error", "mill/model"),
        (b"data: [DONE]\n\n", "api_error", "ended with [DONE], before message_stop"),
    ],
)
def test_failures_are_told_as_any_upstreams(body: bytes, kind: str, message: str) -> None:
    last = read([body])[-1]
    assert isinstance(last, Failure)
    assert not kind or last.type == kind
    assert message in last.message
