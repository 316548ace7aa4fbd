"""Bytes in: streams, whole answers, and what is neither."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.chat import response
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.chat.stream import StreamDecoder
from latimer.dialects.reader import Reader
from latimer.errors import Failure
from latimer.events import Delta, Event, Finish
from tests import strategies
from tests.dialects.chat.asking import Json
from tests.reading import ASKED, HIDDEN_READER, READER, TAG_READER


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


def framed(delta: Json, **aside: Any) -> bytes:
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **aside}
    return b"data: %s\n\n" % json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def fragment(arguments: str) -> Json:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"k":"'}}]}


@pytest.mark.parametrize(
    ("first", "like"),
    [
        ({"content": "a"}, lambda word: {"content": word}),
        ({"reasoning_content": "a"}, lambda word: {"reasoning_content": word}),
        (CALL, fragment),
    ],
)
def test_a_chunk_like_the_one_before_is_not_decoded(
    first: Json, like: Callable[[str], Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = ResponseDecoder(READER)
    decoder.decode(framed(first))
    assert decoder.more(framed(like("b"))) == Delta(0, "b")
    with monkeypatch.context() as patched:
        patched.setattr(StreamDecoder, "words", lambda *_: pytest.fail("decoded"))
        assert decoder.more(framed(like("ü c"))) == Delta(0, "ü c")
    assert decoder.more(framed(like("\n"))) == Delta(0, "\n")


def test_what_was_learned_holds_for_one_block() -> None:
    decoder = ResponseDecoder(READER)
    for word in ("a", "b"):
        decoder.more(framed({"content": word})) or decoder.decode(framed({"content": word}))
    decoder.decode(framed({"reasoning_content": "c"}))
    assert decoder.more(framed({"content": "d"})) is None


def test_what_was_learned_is_of_whole_events() -> None:
    decoder = ResponseDecoder(READER)
    for word in ("a", "b"):
        decoder.more(framed({"content": word})) or decoder.decode(framed({"content": word}))
    assert decoder.decode(b": a comment that goes on with ") == []
    assert decoder.more(framed({"content": "c"})) is None
    assert decoder.decode(framed({"content": "c"})) == []


def test_nothing_is_learned_of_chunks_that_all_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[bytes] = []
    learn = response.learn
    monkeypatch.setattr(response, "learn", lambda event, *more: learned.append(event) or learn(event, *more))
    decoder = ResponseDecoder(READER)
    decoder.decode(framed({"content": "a"}))
    for number in range(10):
        assert decoder.more(framed({"content": "b"}, obfuscation=str(number))) == Delta(0, "b")
    assert len(learned) == response.MOST_MISSES


WORDS = st.sampled_from(["a", "b", "m", "x"]) | strategies.TEXTS
PLAIN = st.one_of(
    st.builds(lambda text: {"content": text}, WORDS),
    st.builds(lambda text: {"reasoning_content": text}, WORDS),
    st.builds(fragment, st.sampled_from(["", "a", "m", '"', "\\n"])),
    st.just(CALL),
)


@given(
    st.lists(st.tuples(PLAIN, st.sampled_from([{}] * 6 + [{"service_tier": "flex"}, {"error": {"message": ""}}]))),
    st.sampled_from([READER, TAG_READER, HIDDEN_READER]),
    st.data(),
)
def test_templates_come_to_the_same(told: list[tuple[Json, Json]], reader: Reader, data: st.DataObject) -> None:
    long, short = ResponseDecoder(reader), ResponseDecoder(reader)
    for delta, aside in told:
        whole = framed(delta, **aside)
        at = data.draw(st.sampled_from([len(whole), len(whole), len(whole), len(whole) // 2, 6]))
        for part in filter(None, (whole[:at], whole[at:])):
            more = short.more(part)
            assert long.decode(part) == (short.decode(part) if more is None else [more])
    assert long.flush() == short.flush()
