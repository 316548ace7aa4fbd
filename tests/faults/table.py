"""The faults: what each is, and how the upstream plays it before and after the first token."""

import asyncio
import gzip
import zlib
from dataclasses import dataclass, field
from typing import Any

from tests.faults.line import Line, Play
from tests.scenarios.replies import html

PATIENT = {"idle_timeout_seconds": 20.0, "commit_seconds": 20.0, "ping_seconds": 20.0}
IMPATIENT = {"idle_timeout_seconds": 0.4, "commit_seconds": 0.15, "ping_seconds": 0.1}
BIG = 1_000_000
"""Bytes of a line that is longer than the limit, which is smaller while the matrix is played."""
PAGE = html().steps[0]


@dataclass(frozen=True)
class Fault:
    """One row. `play` is for both phases; without `within` the fault comes before any answer, so that after the first
    token means: the answer is reset there, and the fault meets the next request.

    `says`: a part of what the client must be told where it is told of a failure, in the first phase and the second.
    `server`: `plain`, or how the listening side differs. `endless`: the client is the one who leaves.
    """

    name: str
    play: Play
    says: tuple[str, str]
    within: bool = True
    limits: dict[str, Any] = field(default_factory=lambda: PATIENT)
    server: str = "plain"
    endless: bool = False


async def reset_first(line: Line) -> None:
    await line.reset()


async def close_first(line: Line) -> None:
    line.close()


async def half_a_head(line: Line) -> None:
    await line.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await line.reset()


async def reset_within(line: Line) -> None:
    await line.begin()
    await line.reset()


async def reset_mid_event(line: Line) -> None:
    await line.begin()
    await line.chunk(line.left[0][: len(line.left[0]) // 2])
    await line.reset()


async def reset_mid_chunk(line: Line) -> None:
    await line.begin()
    await line.raw(b"ff\r\n" + line.left[0][:9])
    await line.reset()


async def close_within(line: Line) -> None:
    await line.begin()
    await line.settle()
    line.close()


async def end_within(line: Line) -> None:
    await line.begin()
    await line.end()


async def broken_tls(line: Line) -> None:
    await line.begin()
    await asyncio.sleep(0.5)  # many handshakes at once take their time
    line.below_tls(b"this is not a TLS record at all, it is plain text")
    await line.hang()


async def not_tls(line: Line) -> None:
    """What a server without TLS answers to the beginning of TLS."""
    await line.raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    line.close()


async def well(line: Line) -> None:
    await line.well()


async def slow_head(line: Line) -> None:
    if line.after:
        await line.begin()
        await asyncio.sleep(0.3)
        await line.rest()
    else:
        await asyncio.sleep(0.3)
        await line.well()


async def slow_body(line: Line) -> None:
    """Five bytes at a time, in chunks that know no events."""
    await line.begin()
    body = b"".join(line.left)
    for start in range(0, len(body), 5):
        await line.chunk(body[start : start + 5])
        if start < 300:
            await asyncio.sleep(0.002)
    await line.end()


async def silence_first(line: Line) -> None:
    await line.hang()


async def silence_within(line: Line) -> None:
    await line.begin()
    await line.hang()


async def half_a_head_then_silence(line: Line) -> None:
    await line.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await line.hang()


async def garbage_first(line: Line) -> None:
    await line.raw(bytes(range(128, 256)) * 4)
    line.close()


async def garbage_within(line: Line) -> None:
    await line.begin()
    junk = bytes(range(128, 256)) + b"{not json\n\n"
    await line.chunk(b"data: " + junk if line.answer.stream else junk)
    await line.rest()


async def wrong_json(line: Line) -> None:
    """JSON that is no answer."""
    await line.begin()
    await line.chunk(b'data: {"choices": 7, "type": []}\n\n' if line.answer.stream else b'{"choices": 7, "type": []}')
    await line.rest()


async def split_characters(line: Line) -> None:
    """Every byte in a chunk of its own."""
    await line.begin()
    for byte in b"".join(line.left):
        await line.chunk(bytes([byte]))
    await line.end()


async def half_a_character(line: Line) -> None:
    """The first byte of two, then the rest of the answer as if nothing were missing."""
    await line.begin()
    await line.chunk(b"".join(line.left).replace(b"le.", b"l\xe4\xba."))
    await line.end()


async def cut_in_a_character(line: Line) -> None:
    await line.begin()
    await line.chunk(b'data: {"\xe4\xba' if line.answer.stream else b"\xe4\xba")
    await line.end()


async def huge_line(line: Line) -> None:
    await line.begin()
    await line.chunk(b"data: " + b"x" * BIG if line.answer.stream else b"x" * BIG)
    await line.hang()


async def bad_chunk_size(line: Line) -> None:
    await line.begin()
    await line.raw(b"zz\r\n" + line.left[0] + b"\r\n")
    await line.rest()


async def wrong_chunk_size(line: Line) -> None:
    """One byte more than the chunk announces."""
    await line.begin()
    await line.raw(b"%x\r\n%b\r\n" % (len(line.left[0]) - 1, line.left[0]))
    await line.rest()


async def as_html(line: Line) -> None:
    await line.head(content_type="text/html; charset=iso-8859-1")
    for part in (*line.said, *line.left):
        await line.chunk(part)
    await line.end()


async def other_form(line: Line) -> None:
    """A message for a stream, a stream for a message."""
    from tests.faults.answers import spoken  # noqa: PLC0415  # the line knows only its own

    other = spoken(line.answer.dialect, stream=not line.answer.stream)
    await Line(line.writer, other, line.after, line.gone).well()


async def gzipped(line: Line) -> None:
    packer = zlib.compressobj(wbits=31)
    await line.head("200 OK", None, "Content-Encoding: gzip")
    for part in (*line.said, *line.left):
        await line.chunk(packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH))
    await line.chunk(packer.flush())
    await line.end()


async def broken_gzip(line: Line) -> None:
    packer = zlib.compressobj(wbits=31)
    await line.head("200 OK", None, "Content-Encoding: gzip")
    await line.chunk(b"".join(packer.compress(part) for part in line.said) + packer.flush(zlib.Z_SYNC_FLUSH))
    await line.settle()
    await line.chunk(b"\xff\xfe this is not deflate")
    await line.end()


async def cut_gzip(line: Line) -> None:
    """The body ends in good order, its compression does not."""
    await line.head("200 OK", None, "Content-Encoding: gzip")
    packed = gzip.compress(b"".join(line.said) or b" ", mtime=0)
    await line.chunk(packed[:-12])
    await line.end()


async def unknown_encoding(line: Line) -> None:
    await line.head("200 OK", None, "Content-Encoding: br")
    await line.chunk(b"\x0b\x02\x80hello\x03")
    await line.end()


async def early_hints(line: Line) -> None:
    await line.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
    await line.well()


async def switching(line: Line) -> None:
    await line.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI")
    await line.hang()


async def redirect(line: Line) -> None:
    await line.head("307 Temporary Redirect", "text/html", "Location: http://127.0.0.1:9/elsewhere")
    await line.end()


async def bad_gateway(line: Line) -> None:
    await line.head("502 Bad Gateway", "text/html")
    await line.chunk(b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>")
    await line.end()


async def page_within(line: Line) -> None:
    """A proxy's own page instead of the rest."""
    await line.begin()
    await line.chunk(b"<html><head><title>504 Gateway Time-out</title></head><body>nginx</body></html>")
    await line.end()


async def web_page(line: Line) -> None:
    await line.head(content_type="text/html")
    await line.chunk(b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>")
    await line.end()


def refusing(status: str, *headers: str) -> Play:
    async def refuse(line: Line) -> None:
        await line.head(status, "application/json", *headers)
        await line.chunk(b'{"error": {"message": "the server says why", "type": "x", "code": null}}')
        await line.end()

    return refuse


async def no_content(line: Line) -> None:
    await line.head("204 No Content", None, framed=False)


async def empty(line: Line) -> None:
    await line.head()
    await line.end()


async def error_within(line: Line) -> None:
    if line.answer.stream:
        await line.begin()
        await line.chunk(line.answer.error)
    else:
        await line.head()
        for part in line.said if line.after else ():
            await line.chunk(part)
        await line.chunk(line.answer.error)
    await line.end()


async def finished_twice(line: Line) -> None:
    """Before: it finishes, says something, and finishes again. After: it says all of it, and finishes twice."""
    await line.head()
    answer = line.answer
    if not answer.stream:
        twice = answer.finished_twice().body
        parts = (twice, twice) if line.after else (twice,)
    elif line.after:
        parts = (*answer.opening, *answer.tokens, *answer.ending, *answer.ending)
    else:
        parts = (*answer.opening, *answer.finish, *answer.tokens, *answer.ending)
    await line.chunk(b"".join(parts))
    await line.end()


async def end_missing(line: Line) -> None:
    """The last event of a stream never comes; a message does not say how it ended."""
    answer = line.answer.unfinished("gone" if line.after else "null")
    await line.head()
    tokens = answer.tokens if line.after or not answer.stream else ()
    for part in (*answer.opening, *tokens, *answer.ending):
        await line.chunk(part)
    await line.end()


async def open_after_the_end(line: Line) -> None:
    """All is said, and the connection stays open: before, without the last event; after, with it."""
    answer = line.answer if line.after else line.answer.unfinished("null")
    await line.head()
    for part in (*answer.opening, *answer.tokens, *answer.ending):
        await line.chunk(part)
    await line.hang()


async def endless(line: Line) -> None:
    """Before: it keeps the line open and says nothing. After: it repeats itself."""
    await line.begin()
    more = line.left[0] if line.after else b": still busy\n\n" if line.answer.stream else b" " * 64
    while True:
        await line.chunk(more * 50)
        await asyncio.sleep(0.002)


async def length_too_large(line: Line) -> None:
    """A few bytes more are announced than come: before, of a whole answer; after, of one that broke off."""
    body = b"".join(line.said) if line.after else line.answer.body
    await line.head("200 OK", None, f"Content-Length: {len(body) + 9}", framed=False)
    await line.raw(body)
    await line.settle()
    line.close()


async def length_too_small(line: Line) -> None:
    """Fewer bytes are announced than come: they end before the first token, or after it."""
    said = b"".join(line.said)
    await line.head("200 OK", None, f"Content-Length: {len(said)}", framed=False)
    await line.raw(said + b"".join(line.left))
    await line.settle()


async def two_lengths(line: Line) -> None:
    body = line.answer.body
    await line.head("200 OK", None, f"Content-Length: {len(body)}", f"Content-Length: {len(body) - 5}", framed=False)
    await line.raw(body)
    await line.settle()


async def length_and_chunks(line: Line) -> None:
    await line.head("200 OK", None, "Content-Length: 5")
    for part in (*line.said, *line.left):
        await line.chunk(part)
    await line.end()


CLOSED = ("closed before", "closed before")
CUT = (
    "before the answer was complete|without|empty|not |cut|end",
    "before the answer was complete|without|not |cut|end",
)
SILENT = ("nothing came for 0.4 s", "nothing came for 0.4 s")
ANY = (" ", " ")
NOT_HTTP = ("not HTTP", "not HTTP")

FAULTS = (
    Fault("connection refused", well, ("nothing accepts connections", "nothing accepts"), False, server="refusing"),
    Fault("certificate not trusted", well, ("SSL_CERT_FILE", "SSL_CERT_FILE"), server="untrusted"),
    Fault("no TLS where https is asked for", not_tls, ("http://", "http://"), server="no TLS"),
    Fault("TLS broken in the answer", broken_tls, ANY, server="trusted"),
    Fault("reset on accepting", reset_first, CLOSED, False, server="early"),
    Fault("reset after the request", reset_first, CLOSED, False),
    Fault("closed after the request", close_first, CLOSED, False),
    Fault("reset within the head", half_a_head, CLOSED, False),
    Fault("reset after an event", reset_within, CLOSED),
    Fault("reset within an event", reset_mid_event, CLOSED),
    Fault("reset within a chunk", reset_mid_chunk, CLOSED),
    Fault("closed without the last chunk", close_within, CLOSED),
    Fault("ended too early, in good order", end_within, CUT),
    Fault("slow: a pause", slow_head, ANY, limits=IMPATIENT),
    Fault("slow: a few bytes at a time", slow_body, ANY),
    Fault("silence after the request", silence_first, SILENT, False, limits=IMPATIENT),
    Fault("silence within the head", half_a_head_then_silence, SILENT, False, limits=IMPATIENT),
    Fault("silence within the answer", silence_within, SILENT, limits=IMPATIENT),
    Fault("garbage instead of HTTP", garbage_first, NOT_HTTP, False),
    Fault("garbage in the body", garbage_within, ANY),
    Fault("JSON that is no answer", wrong_json, ANY),
    Fault("characters cut by reads", split_characters, ANY),
    Fault("half a character", half_a_character, ANY),
    Fault("ended within a character", cut_in_a_character, CUT),
    Fault("a line of 1 MB, the limit being 200 kB", huge_line, ("more than 200000 bytes", "more than 200000 bytes")),
    Fault("a chunk size that is no number", bad_chunk_size, NOT_HTTP),
    Fault("a chunk that is longer than it says", wrong_chunk_size, NOT_HTTP),
    Fault("content type of a web page", as_html, ANY, False),
    Fault("a message for a stream, a stream for a message", other_form, ANY, False),
    Fault("gzip nobody asked for", gzipped, ANY),
    Fault("gzip that is broken", broken_gzip, ("compressed body is broken", "compressed body is broken")),
    Fault("gzip that is cut", cut_gzip, ANY),
    Fault("a compression nobody knows", unknown_encoding, ("compressed in a way", "compressed in a way"), False),
    Fault("100 and 103 before the head", early_hints, ANY, False),
    Fault("101 switching protocols", switching, ("switches protocols", "switches protocols"), False),
    Fault("a redirect", redirect, ("307", "307"), False),
    Fault("502 with a web page", bad_gateway, ("502 Bad Gateway", "502 Bad Gateway"), False),
    Fault("a web page with status 200", web_page, ("web page", "web page"), False),
    Fault("a proxy's page within the body", page_within, ANY),
    Fault("401", refusing("401 Unauthorized"), ("LATIMER_TEST_KEY", "LATIMER_TEST_KEY"), False),
    Fault("429 with a time", refusing("429 Too Many Requests", "retry-after-ms: 20"), ("says why", "says why"), False),
    Fault("500", refusing("500 Internal Server Error"), ("says why", "says why"), False),
    Fault("503", refusing("503 Service Unavailable"), ("says why", "says why"), False),
    Fault("204 without a body", no_content, ("empty", "empty"), False),
    Fault("200 with an empty body", empty, ("empty", "empty"), False),
    Fault("an error in a 200", error_within, ("ran out of memory", " ")),
    Fault("finished twice", finished_twice, ANY),
    Fault("the end never comes", end_missing, ANY),
    Fault("all is said, and the line stays open", open_after_the_end, ANY, limits=IMPATIENT | {"ping_seconds": 20.0}),
    Fault("endless", endless, ("more than 200000 bytes", "more than 200000 bytes"), limits=IMPATIENT, endless=True),
    Fault("a Content-Length that is too large", length_too_large, CLOSED),
    Fault("a Content-Length that is too small", length_too_small, CUT),
    Fault("two Content-Lengths", two_lengths, NOT_HTTP, False),
    Fault("Content-Length and chunks", length_and_chunks, NOT_HTTP, False),
)
