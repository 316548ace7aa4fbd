"""An answer whose bytes go through: held until it has begun, read on the side, and never left without an end."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.answer import Answer
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder, encode_response
from latimer.dialects.messages.passthrough import PassedAnswer, translated_because
from latimer.dialects.messages.request import AppliedEdit, Request, decode_request
from latimer.dialects.messages.response import ResponseDecoder
from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Reasoning, Signature, Start, Text, Usage
from latimer.profile import EndpointRules, NativeRules, Profile, ToolRules
from tests import reading, strategies
from tests.test_laws import messages_stream

LOST = Failure("api_error", "the connection was lost")
HEADING = Heading("msg_latimer", "claude", "req_1")
UNIQUE_START = Start("msg_0123456789abcdef", "claude", Usage(9))
HELLO: list[Event] = [
    UNIQUE_START,
    BlockStart(0, Reasoning()),
    Delta(0, "Hm."),
    Signature(0, "theirs"),
    BlockStop(0),
    BlockStart(1, Text()),
    *[Delta(1, word) for word in ("Hel", "lo é", "\n\nevent: error\n\n", "😀")],
    BlockStop(1),
    Finish("stop", Usage(9, 4)),
]
STREAM = messages_stream(HELLO)
WHOLE = encode_response(HELLO, replace(HEADING, id="msg_0123456789abcdef"))


def passed(*, stream: bool = True, model: str | None = None, greeted: bool = False) -> PassedAnswer:
    encoder = StreamEncoder(HEADING) if stream else WholeEncoder(HEADING)
    if greeted and isinstance(encoder, StreamEncoder):
        encoder.start(Usage())
    reader = reading.READER

    def instead() -> Answer:
        return Answer(ResponseDecoder(reader), [], encoder)

    return PassedAnswer(reader, encoder, instead, stream=stream, model=model, greeted=lambda: greeted)


def run(answer: PassedAnswer, chunks: list[bytes]) -> bytes:
    """As the gateway does: nothing is read once the answer is over."""
    out = b"".join([answer.feed(chunk) for chunk in chunks if not answer.over])
    return out + answer.end()


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]


def test_a_stream_goes_through_byte_for_byte() -> None:
    answer = passed()
    assert run(answer, [STREAM]) == STREAM
    assert answer.usage == Usage(9, 4)
    assert answer.spoken
    assert answer.over
    assert answer.announced
    assert not answer.failure
    assert not answer.settling
    assert (answer.losses, answer.repairs) == ((), [])


@pytest.mark.parametrize("line", [b"\r\n", b"\r"])
def test_lines_may_end_as_they_like(line: bytes) -> None:
    body = STREAM.replace(b"\n", line)
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        answer = passed()
        assert run(answer, chunks) == body
        assert answer.usage == Usage(9, 4)


def test_pings_comments_and_unknown_events_go_through() -> None:
    extra = b': hello\n\nevent: ping\ndata: {"type": "ping"}\n\nevent: of_2030\ndata: {"type":"of_2030"}\n\n'
    first, rest = STREAM.split(b"\n\n", 1)
    body = extra + first + b"\n\n" + extra + rest
    assert run(passed(), [body]) == body


def test_every_write_is_whole_events() -> None:
    answer = passed()
    for at in range(0, len(STREAM), 7):
        out = answer.feed(STREAM[at : at + 7])
        assert not out or out.endswith(b"\n\n")


def test_nothing_is_said_before_the_first_block() -> None:
    answer = passed()
    start, rest = STREAM.split(b"\n\n", 1)
    assert answer.feed(start + b"\n\n") == b""
    assert not answer.spoken
    assert answer.feed(rest).startswith(start)
    assert answer.spoken


def test_a_failure_before_the_first_block_can_still_be_a_status() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    answer = passed()
    assert run(answer, [STREAM.split(b"\n\n", 1)[0] + b"\n\n", error]) == b""
    assert not answer.spoken
    assert answer.failure == Failure("overloaded_error", "mill/model: Overloaded.")


def test_an_error_in_the_stream_is_told_in_the_words_the_client_acts_on() -> None:
    said = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "maximum context length is 8 tokens"},
    }
    cut = STREAM.index(b"event: content_block_stop")
    answer = passed()
    out = run(answer, [STREAM[:cut] + f"event: error\ndata: {json.dumps(said)}\n\n".encode() + STREAM[cut:]])
    assert out.startswith(STREAM[:cut])
    error = events_of(out)[-1]
    assert error["request_id"] == "req_1"
    assert error["error"]["message"].startswith("prompt is too long: ")
    assert answer.failure
    assert answer.over


@pytest.mark.parametrize("at", range(0, len(STREAM), 11))
def test_a_stream_that_breaks_off_ends_in_an_error(at: int) -> None:
    for finish in (lambda answer: answer.end(), lambda answer: answer.cut(LOST)):
        answer = passed()
        out = answer.feed(STREAM[:at]) + finish(answer)
        assert answer.failure
        if answer.spoken:
            assert events_of(out)[-1]["type"] == "error"
            assert b"\n\nevent: error\n" in out
        else:
            assert out == b""


def test_the_last_blank_line_may_be_missing() -> None:
    for less in (STREAM[:-1], STREAM[:-2]):
        assert run(passed(), [less]) == STREAM


def test_an_event_that_is_no_json_ends_in_an_error() -> None:
    cut = STREAM.index(b"event: content_block_stop")
    out = run(passed(), [STREAM[:cut] + b"data: oops\n\n" + STREAM[cut:]])
    assert out.startswith(STREAM[:cut])
    assert events_of(out)[-1]["error"]["type"] == "api_error"
    assert "mill/model" in events_of(out)[-1]["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"<html>nginx</html>", b"oops\n\n", b"{", b'{"error":{"message":"no"}}', b"[]"])
def test_what_is_no_answer_is_a_failure(body: bytes) -> None:
    for stream in (True, False):
        answer = passed(stream=stream)
        assert run(answer, [body]) == b""
        assert answer.failure
        assert "mill/model" in answer.failure.message


def test_a_whole_message_goes_through_byte_for_byte() -> None:
    pretty = json.dumps(json.loads(WHOLE), indent=3).encode()
    answer = passed(stream=False)
    assert answer.feed(pretty[:50]) == b""
    assert not answer.over
    assert run(answer, [pretty[50:]]) == pretty
    assert answer.usage == Usage(9, 4)


def test_a_whole_message_that_was_cut_is_a_failure() -> None:
    answer = passed(stream=False)
    assert run(answer, [WHOLE[:-10]]) == b""
    assert answer.failure
    lost = passed(stream=False)
    assert lost.feed(WHOLE) + lost.cut(LOST) == b""
    assert lost.failure == LOST


def test_an_error_in_the_place_of_a_message_is_read() -> None:
    answer = passed(stream=False)
    assert run(answer, [b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}']) == b""
    assert answer.failure == Failure("rate_limit_error", "mill/model: slow down.")


def test_a_message_for_a_stream_is_translated() -> None:
    answer = passed()
    out = run(answer, [WHOLE[:30], WHOLE[30:]])
    first, *rest = reading.read_messages([out])
    assert isinstance(first, Start)
    assert reading.merged(rest) == reading.merged(HELLO[1:])
    assert answer.usage == Usage(9, 4)
    assert answer.spoken


def test_a_stream_for_a_message_is_translated() -> None:
    answer = passed(stream=False)
    out = json.loads(run(answer, [STREAM[:70], STREAM[70:]]))
    assert [block["type"] for block in out["content"]] == ["thinking", "text"]
    assert answer.usage == Usage(9, 4)


def test_after_a_greeting_there_is_no_second_start() -> None:
    """The client was told `message_start` while the upstream took its time."""
    for size in (1, 50, len(STREAM)):
        answer = passed(greeted=True)
        out = run(answer, [STREAM[at : at + size] for at in range(0, len(STREAM), size)])
        assert "message_start" not in [event["type"] for event in events_of(out)]
        assert events_of(out)[-1]["type"] == "message_stop"
        assert events_of(out)[-2]["usage"]["input_tokens"] == 9
        assert answer.usage == Usage(9, 4)


def test_the_client_gets_the_model_that_it_asked_for() -> None:
    out = run(passed(model="claude-sonnet-5-5"), [STREAM])
    assert out == STREAM.replace(b'"model":"claude"', b'"model":"claude-sonnet-5-5"', 1)
    whole = run(passed(stream=False, model="claude-sonnet-5-5"), [WHOLE])
    assert whole == WHOLE.replace(b'"model":"claude"', b'"model":"claude-sonnet-5-5"', 1)


@pytest.mark.parametrize("given", ["", "chatcmpl-1", "msg"])
def test_an_id_that_cannot_be_unique_is_replaced(given: str) -> None:
    """Clients merge answers that share one."""
    body = messages_stream([replace(UNIQUE_START, id=given), *HELLO[1:]])
    assert events_of(run(passed(), [body]))[0]["message"]["id"] == reading.READER.message_id


@given(st.data(), strategies.messages_answers())
def test_any_chunking_gives_the_same_bytes(data: st.DataObject, events: list[Event]) -> None:
    body = messages_stream(events) + data.draw(st.sampled_from([b"", b"data: [DONE]\n\n", b": bye\n\n"]))
    once, pieces = passed(), passed()
    assert run(once, [body]) == run(pieces, data.draw(strategies.splits(body)))
    assert once.usage == pieces.usage == events[-1].usage  # type: ignore[union-attr]


@given(st.data(), strategies.messages_answers() | st.none(), strategies.MESSAGES_BYTES | strategies.JUNK)
def test_whatever_comes_ends_well_or_in_an_error(data: st.DataObject, events: list[Event] | None, junk: bytes) -> None:
    body = data.draw(strategies.spoiled(messages_stream(events))) if events else junk
    for stream in (True, False):
        once, pieces = passed(stream=stream), passed(stream=stream)
        out = run(once, [body])
        assert run(pieces, data.draw(strategies.splits(body))) == out
        assert once.failure == pieces.failure
        assert (once.failure is None) != (once.usage is None)
        if stream and once.spoken:
            last = reading.read_messages([out])[-1]
            assert isinstance(last, Failure if once.failure else Finish)


@given(st.data(), strategies.messages_answers())
def test_cut_anywhere_it_ends_in_a_failure(data: st.DataObject, events: list[Event]) -> None:
    body = messages_stream(events)
    at = data.draw(st.integers(0, len(body) - len(b'data: {"type":"message_stop"}\n\n')))
    answer = passed()
    out = run(answer, [body[:at]])
    assert answer.failure
    assert not answer.spoken or events_of(out)[-1]["type"] == "error"


# --- when bytes cannot go through -----------------------------------------------------------------------------------

ASKED: dict[str, Any] = {"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
TOOLSET = {"type": "computer_toolset_20260501", "name": "computer"}


def request(**fields: Any) -> Request:
    return decode_request(json.dumps(ASKED | fields).encode())


TOOLS = [{"name": "Bash", "input_schema": {"type": "object"}}]
ONE_CALL = {"type": "auto", "disable_parallel_tool_use": True}


def test_an_answer_goes_through_unless_there_is_a_reason() -> None:
    plain = Profile()
    assert translated_because(request(), plain) == ""
    assert translated_because(request(stop_sequences=["x"], tools=TOOLS, tool_choice=ONE_CALL), plain) == ""
    assert translated_because(request(), Profile(native=NativeRules(passthrough=False)))
    assert translated_because(request(stop_sequences=["x"]), Profile(native=NativeRules(fields=frozenset())))
    assert translated_because(request(tools=TOOLS, tool_choice=ONE_CALL), Profile(tools=ToolRules(parallel=False)))
    assert translated_because(replace(request(), applied_edits=(AppliedEdit("x", 1),)), plain)
    assert translated_because(replace(request(), applied_edits=()), plain) == ""
    always = Profile(endpoint=EndpointRules(dialect="messages"), native=NativeRules(thinking=frozenset()))
    assert translated_because(request(thinking={"type": "disabled"}), always)
    assert translated_because(request(thinking={"type": "disabled"}), replace(always, native=NativeRules())) == ""
