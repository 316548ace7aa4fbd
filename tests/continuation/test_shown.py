"""What the client has been shown, and what is kept from it."""

from latimer.continuation.shown import Shown
from latimer.dialects.messages.encoder import Heading, StreamEncoder
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
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)

LOST = Failure("api_error", "lost")
CALL: list[Event] = [BlockStart(1, ToolCall("c", "Bash")), Delta(1, '{"a":'), Delta(1, "1}")]
WORDS: list[Event] = [Start("i", "m", Usage(7)), BlockStart(0, Text()), Delta(0, "Hel"), Delta(0, "lo")]


def encoder() -> StreamEncoder:
    return StreamEncoder(Heading("msg_1", "m", "req_1"))


def told(shown: Shown, *events: Event) -> bytes:
    return b"".join(shown.encode(event) for event in events)


def test_it_changes_nothing_of_what_passes() -> None:
    events = [*WORDS, BlockStop(0), *CALL, BlockStop(1), Finish("tool_call", Usage(7, 2))]
    plain = encoder()
    assert told(Shown(encoder()), *events) == b"".join(plain.encode(event) for event in events)


def test_it_knows_the_text_and_the_open_block() -> None:
    shown = Shown(encoder())
    told(shown, *WORDS)
    assert (shown.text, shown.called, shown.tokens, shown.usage) == ("Hello", False, 2, Usage(7))
    assert shown.open is shown.said[0]
    told(shown, BlockStop(0))
    assert shown.open is None


def test_thinking_and_its_signature() -> None:
    shown = Shown(encoder())
    told(shown, Start("i", "m"), BlockStart(0, Reasoning()), Delta(0, "hm"), Signature(0, "sig"), BlockStop(0))
    (said,) = shown.said
    assert (said.text, said.signature, said.closed) == ("hm", "sig", True)
    assert (shown.text, shown.strange) == ("", False)


def test_a_call_is_told_when_it_is_whole() -> None:
    shown = Shown(encoder())
    told(shown, *WORDS, BlockStop(0))
    assert told(shown, *CALL) == b""
    assert not shown.called
    assert b'"partial_json":"1}"' in told(shown, BlockStop(1))
    assert shown.called
    assert shown.open is None


def test_half_a_call_was_never_there() -> None:
    shown = Shown(encoder())
    told(shown, *WORDS, BlockStop(0), *CALL)
    assert told(shown, LOST) == b""
    assert (shown.failure, shown.called, len(shown.said)) == (LOST, False, 1)
    assert b"message_stop" in told(shown, Finish("stop", Usage())), "and nothing of it is left to wait for"


def test_a_new_attempt_begins_without_the_call_of_the_one_before() -> None:
    shown = Shown(encoder())
    told(shown, *WORDS, BlockStop(0), *CALL)
    shown.begin()
    assert b'"text":"!"' in told(shown, BlockStart(1, Text()), Delta(1, "!"))


def test_a_failure_waits_until_somebody_gives_up() -> None:
    shown = Shown(encoder())
    told(shown, *WORDS)
    assert told(shown, LOST) == b""
    assert shown.failure == LOST
    assert shown.give_up(LOST) == encoder().encode(LOST)


def test_what_no_request_could_be_told_of() -> None:
    for strange in (
        [BlockStart(0, Opaque("messages", b'{"type":"x"}'))],
        [*WORDS[1:], OpaqueDelta(0, b'{"type":"x"}')],
    ):
        shown = Shown(encoder())
        told(shown, *strange)
        assert shown.strange
