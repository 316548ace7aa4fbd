"""Each dialect is said and read by its own code; Messages goes through where nobody has to read it."""

import json

import pytest
from msgspec.structs import replace

from latimer.answer import Answer
from latimer.codecs import DECODERS, Destination, encode_request, native_rules, read_answer
from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.dialects.messages.passthrough import PassedAnswer
from latimer.dialects.messages.request import Request, decode_request
from latimer.dialects.reader import Reader
from latimer.profile import Dialect, EndpointRules, NativeRules, Profile

DIALECTS: list[Dialect] = ["chat", "responses", "messages"]
BODY = {"model": "claude-x", "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}
ANSWERS: dict[Dialect, object] = {
    "chat": {"id": "c", "model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]},
    "responses": {
        "id": "r",
        "status": "completed",
        "model": "m",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    },
    "messages": {
        "id": "msg_0123456789abcdef",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}


def profile(dialect: Dialect) -> Profile:
    return Profile(endpoint=EndpointRules(dialect))


def answer(dialect: Dialect, request: Request, *, watched: bool = False) -> Answer | PassedAnswer:
    asked = Asked("p", "p/m", "", "claude-x", 10, 0, 99)
    heading = Heading("msg_1", "claude-x", "req_1")
    encoder = StreamEncoder(heading) if request.body.stream else WholeEncoder(heading)
    reader = Reader(asked, "msg_1", {})
    return read_answer(request, profile(dialect), reader, list, encoder, watched=watched, greeted=lambda: False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_and_its_answer(dialect: Dialect) -> None:
    raw = json.dumps(BODY).encode()
    request = decode_request(raw)
    outgoing = encode_request(request, Destination("m", "p/m", profile(dialect)), raw=raw)
    body = json.loads(outgoing.body)
    assert body["model"] == "m"
    assert ("input" in body) == (dialect == "responses")
    through = answer(dialect, request)
    message = json.loads(through.feed(json.dumps(ANSWERS[dialect]).encode()) + through.end())
    assert message["content"] == [{"type": "text", "text": "Hi"}]
    assert (message["model"], message["stop_reason"]) == ("claude-x", "end_turn")
    assert through.usage is not None


def test_the_same_dialect_goes_through_unless_it_is_watched() -> None:
    request = decode_request(json.dumps(BODY).encode())
    assert isinstance(answer("messages", request), PassedAnswer)
    assert isinstance(answer("messages", request, watched=True), Answer)
    assert isinstance(answer("chat", request), Answer)
    assert set(DECODERS) == set(DIALECTS)


def test_only_messages_is_native() -> None:
    rules = NativeRules(fields=frozenset({"safeguards"}), server_tools=True)
    for dialect in DIALECTS:
        native = native_rules(replace(profile(dialect), native=rules))
        assert native.takes("safeguards") == (dialect == "messages")
        assert native.server_tools == (dialect == "messages")
