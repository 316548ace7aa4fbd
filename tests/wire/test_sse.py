"""Server-sent events as servers really frame them."""

import pytest

from latimer.wire import sse


def decoded(*chunks: bytes) -> list[tuple[str, bytes]]:
    decoder = sse.Decoder()
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return [tuple(event) for event in events + decoder.flush()]


A = ("message", b"a")


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [A]),
        (b"data:a\n\n", [A]),
        (b"data:  a\n\n", [("message", b" a")]),
        (b"data: a\r\n\r\n", [A]),
        (b"data: a\r\rdata: b\r\r", [A, ("message", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [A]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b"data\ndata\n\n", [("message", b"\n")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("message", b"b")]),
        (b"event: lost\n\ndata: a\n\n", [A]),
        (b": comment\nid: 7\nretry: 9\nunknown: x\nno colon\ndata: a\n\n", [A]),
        (b"\n\n\ndata: a\n\n\n\n", [A]),
        (b"data: a", [A]),
        (b"data: a\n", [A]),
        (b"data: a\r", [A]),
        (b"", []),
        ("data: \u2028\x0b\x0c\x85\n\n".encode(), [("message", "\u2028\x0b\x0c\x85".encode())]),
    ],
)
def test_framing(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert decoded(stream) == events
    assert decoded(*(bytes([byte]) for byte in stream)) == events


def test_an_event_comes_with_the_bytes_that_complete_it() -> None:
    decoder = sse.Decoder()
    assert decoder.decode(b"data: a\n") == []
    assert decoder.decode(b"\ndata: b") == [A]
    assert decoder.decode(b"\n\n") == [("message", b"b")]


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 20)
    decoder = sse.Decoder()
    for _ in range(9):
        assert len(decoder.decode(b"data: 1234567\n\n")) == 1
    decoder.decode(b"data: 12345678901")
    with pytest.raises(sse.EventTooLarge):
        decoder.decode(b"2345")


@pytest.mark.parametrize("data", [b"", b"a", b"a\nb", b"\n", "ü\u2028".encode()])
def test_encoding_reads_back(data: bytes) -> None:
    assert decoded(sse.encode(data)) == [("message", data)]
    assert decoded(sse.encode(data, "error")) == [("error", data)]
