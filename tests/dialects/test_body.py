"""Bodies: a stream or a whole answer, whatever the server calls it. The laws try every way to cut them."""

import pytest

from latimer.dialects import body
from latimer.dialects.body import BodyDecoder, lenient
from latimer.errors import Failure
from latimer.events import Event, Start
from tests.reading import READER


class Told:
    """A stream that tells what it is told."""

    finished = False

    def flush(self, *, complete: bool) -> list[Event]:
        return [Start("complete" if complete else "cut", "")]

    def fail(self, failure: Failure) -> list[Event]:
        return [failure]


class Echo(BodyDecoder):
    _dialect = "Echo"

    def _data(self, data: bytes, name: str = "message", *, whole: bool = False) -> list[Event]:
        return [Start(data.decode(), f"{name}, whole" if whole else name)]


def read(*chunks: bytes) -> list[Event]:
    decoder = Echo(READER, Told())
    return [event for chunk in chunks for event in decoder.decode(chunk)] + decoder.flush()


def test_the_first_byte_tells_a_stream_from_a_whole_answer() -> None:
    assert read(b'data: {"a":1}\n\n') == [Start('{"a":1}', "message"), Start("cut", "")]
    assert read(b"\xef\xbb", b'\xbf \n{"a"', b":1}") == [Start('{"a":1}', "message, whole"), Start("complete", "")]
    assert read(b"event: x\ndata: 1\n\ndata: [DONE]\n\n") == [Start("1", "x"), Start("complete", "")]


def test_blank_data_and_comments_say_nothing() -> None:
    assert read(b": hi\n\ndata:\n\ndata:  \n\n") == [Start("cut", "")]


def test_an_error_event_is_the_end() -> None:
    [failure, _] = read(b'event: error\ndata: {"error":{"message":"no","code":"rate_limit_exceeded"}}\n\n')
    assert isinstance(failure, Failure)
    assert failure.type == "rate_limit_error"


def test_nothing_at_all() -> None:
    [failure] = read(b" \n")
    assert isinstance(failure, Failure)
    assert "an empty body" in failure.message


def test_no_answer_is_that_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_WHOLE_BYTES", 10)
    decoder = Echo(READER, Told())
    assert decoder.decode(b"{" + b" " * 8) == []
    [failure] = decoder.decode(b"  ")
    assert isinstance(failure, Failure)


def test_a_failure_after_the_end_is_none() -> None:
    stream = Told()
    decoder = Echo(READER, stream)
    lost = Failure("api_error", "lost")
    assert decoder.fail(lost) == [lost]
    stream.finished = True
    assert (decoder.finished, decoder.done) == (True, False)
    assert decoder.fail(lost) == [Start("complete", "")]


def test_lenient() -> None:
    assert lenient(b'{"a":1}') == {"a": 1}
    assert lenient(b"\xff no") == "\ufffd no"
