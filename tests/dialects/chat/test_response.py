"""Bytes in: streams, whole answers, and what is neither."""

import json
from typing import Any

import pytest

from latimer.dialects.chat.response import ResponseDecoder
from latimer.errors import Failure
from latimer.events import Event, Finish
from tests.dialects.chat.asking import Json
from tests.reading import ASKED, READER


def chunk(**delta: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"delta": delta}]}).encode()


FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
WHOLE: Json = {"id": "x", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}


def read(body: bytes) -> list[Event]:
    decoder = ResponseDecoder(READER)
    return decoder.decode(body) + decoder.flush()


@pytest.mark.parametrize(
    "body",
    [
        chunk(content="a") + FINISH + b"data: [DONE]\n\n",
        chunk(content="a") + FINISH,
        b"\xef\xbb\xbf" + chunk(content="a") + FINISH,
        b"\r\n\r\n: hello\r\n" + chunk(content="a") + FINISH,
        b"event: message\n" + chunk(content="a") + FINISH,
        chunk(content="a") + FINISH.rstrip(),
        chunk(content="a") + b"data: \n\n" + FINISH,
        chunk(content="a").replace(b"data: ", b"data:") + FINISH,
        chunk(content="a") + FINISH + b"data: [DONE]\n\n" + chunk(content="after the end"),
        json.dumps(WHOLE).encode(),
        b"\n\n" + json.dumps(WHOLE, indent=2).encode() + b"\n",
    ],
)
def test_an_answer_in_any_frame(body: bytes) -> None:
    assert isinstance(read(body)[-1], Finish)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", "api_error", "an empty body"),
        (b" \n", "api_error", "an empty body"),
        (b"<html><body>502 Bad Gateway</body></html>", "api_error", "web page"),
        (b"[]", "api_error", "not Chat Completions"),
        (b"{", "api_error", "not Chat Completions"),
        (b"{}", "api_error", ""),
        (b'{"error":{"message":"no credit","code":"insufficient_quota"}}', "billing_error", "no credit"),
        (b'{"error":"model is loading"}', "", "model is loading"),
        (b'{"detail":"Not authenticated"}', "", "Not authenticated"),
        (b'{"message":"slow down","code":429}', "rate_limit_error", "slow down"),
        (b"data: <html>\n\n", "api_error", "web page"),
        (b"data: {]\n\n", "api_error", "not Chat Completions"),
        (b'data: {"choices":"none"}\n\n', "api_error", "not Chat Completions"),
        (b"just words\n", "api_error", "before the answer was complete"),
        (b'event: error\ndata: {"message":"gone","code":503}\n\n', "", "gone"),
        (b"event: error\ndata: plain words\n\n", "", "plain words"),
        (chunk(content="a") + b'data: {"error":{"message":"broke"}}\n\n' + FINISH, "", "broke"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_so(body: bytes, kind: str, said: str) -> None:
    end = read(body)[-1]
    assert isinstance(end, Failure)
    assert said in end.message
    assert end.type == kind or not kind
    assert ASKED.route in end.message


def test_a_lost_connection_after_the_finish_reason_lost_only_the_usage() -> None:
    failure = Failure("api_error", "reset")
    decoder = ResponseDecoder(READER)
    decoder.decode(chunk(content="a"))
    assert not decoder.finished
    assert decoder.decode(FINISH) is not None
    assert decoder.finished
    assert isinstance(decoder.fail(failure)[-1], Finish)
    cut = ResponseDecoder(READER)
    cut.decode(chunk(content="a"))
    assert cut.fail(failure) == [failure]


def test_done_is_known_when_it_is_said() -> None:
    decoder = ResponseDecoder(READER)
    decoder.decode(chunk(content="a") + FINISH)
    assert not decoder.done
    decoder.decode(b"data: [DONE]\n\n")
    assert decoder.done


def test_an_endless_event_is_given_up() -> None:
    decoder = ResponseDecoder(READER)
    events: list[Event] = []
    for _ in range(40):
        events += decoder.decode(b"data: " + b"x" * 1024 * 1024)
    assert [type(event) for event in events] == [Failure]
