"""Bytes of Responses answers: what an event is, and what is none."""

import pytest

from latimer.dialects.responses.response import ResponseDecoder
from latimer.errors import Failure
from latimer.events import Delta, Event, Finish
from tests.reading import READER, RESPONSES

DELTA = b'{"type":"response.output_text.delta","item_id":"m","output_index":0,"delta":"hi"}'
END = b'{"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}'


def ending(body: bytes) -> Event:
    return RESPONSES.read([body])[-1]


def test_the_type_is_in_the_data_or_before_it() -> None:
    unnamed = b"data: %s\n\ndata: %s\n\n" % (DELTA, END)
    named = b"event: response.output_text.delta\ndata: %s\n\nevent: response.completed\ndata: %s\n\n" % (
        DELTA.replace(b'"type":"response.output_text.delta",', b""),
        END.replace(b'"type":"response.completed",', b""),
    )
    for body in (unnamed, named, unnamed + b"data: [DONE]\n\n"):
        events = RESPONSES.read([body])
        assert Delta(0, "hi") in events
        assert isinstance(events[-1], Finish)


def test_the_last_event_is_known_before_the_connection_ends() -> None:
    decoder = ResponseDecoder(READER)
    decoder.decode(b"data: %s\n\n" % DELTA)
    assert (decoder.finished, decoder.done) == (False, False)
    decoder.decode(b"data: %s\n\n" % END)
    assert (decoder.finished, decoder.done) == (True, True)


@pytest.mark.parametrize(
    ("body", "type", "text"),
    [
        (b'data: {"type":"error","code":"rate_limit_exceeded","message":"slow"}', "rate_limit_error", "slow"),
        (b'data: {"type":"error","error":{"code":"server_error","message":"broke"}}', "api_error", "broke"),
        (b'event: error\ndata: {"code":"server_error","message":"broke"}', "api_error", "broke"),
        (b'data: {"error":{"message":"broke"}}', "api_error", "broke"),
        (b'{"error":{"message":"no such key","code":"invalid_api_key"}}', "authentication_error", "key"),
        (b'{"detail":"not here"}', "api_error", "not here"),
        (b"<html>nginx</html>", "api_error", "base_url"),
        (b'data: {"type":3}', "api_error", "not Responses"),
        (b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]', "api_error", "Chat Completions"),
        (b'{"choices":[{"message":{"content":"hi"}}]}', "api_error", "Chat Completions"),
        (b"data: {}\n\ndata: [DONE]", "api_error", "ended before"),
        (b"{", "api_error", "not Responses"),
    ],
)  # fmt: skip
def test_what_is_no_answer(body: bytes, type: str, text: str) -> None:
    failure = ending(body + b"\n\n")
    assert isinstance(failure, Failure)
    assert failure.type == type
    assert text in failure.message


def test_lone_surrogates_are_mended() -> None:
    body = b"data: %s\n\ndata: %s\n\n" % (DELTA.replace(b"hi", rb"\ud83d"), END)
    assert Delta(0, "\ufffd") in RESPONSES.read([body])
