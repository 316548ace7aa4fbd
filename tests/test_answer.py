"""The pipeline of one answer: what may still be taken back, and what is over."""

from latimer.answer import Answer
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder
from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Start, Text, ToolCall, Usage
from latimer.stages import StopSequences

HEADING = Heading("msg_1", "claude", "req_1")
BOOM = Failure("api_error", "boom")
HELLO: list[Event] = [BlockStart(0, Text()), Delta(0, "Hello"), BlockStop(0)]
FINISH = Finish("stop", Usage(3, 1))


class Script:
    """A decoder that says what it was told to: each read is the number of events it brings."""

    def __init__(self, *events: Event) -> None:
        self._events = list(events)
        self.finished = self.done = False

    def more(self, data: bytes) -> Delta | None:
        first = self._events[0] if data == b"1" and self._events else None
        if not isinstance(first, Delta):
            return None
        del self._events[0]
        return first

    def decode(self, data: bytes) -> list[Event]:
        count = int(data)
        taken, self._events = self._events[:count], self._events[count:]
        return taken

    def flush(self) -> list[Event]:
        return self.decode(b"99")

    def fail(self, failure: Failure) -> list[Event]:
        return [failure]


def answer(*events: Event, encoder: StreamEncoder | WholeEncoder | None = None, stop: str = "") -> Answer:
    stages = [StopSequences([stop], 5)] if stop else []
    return Answer(Script(*events), list(stages), encoder or StreamEncoder(HEADING))


class Once:
    """A stage that makes a whole block of the first delta it sees, and is idle for good afterwards."""

    done = False
    idle = False

    def pass_on(self, event: Event) -> list[Event]:
        if not isinstance(event, Delta) or self.idle:
            return [event]
        self.idle = True
        return [
            BlockStop(0),
            BlockStart(1, ToolCall("id", event.data)),
            Delta(1, "{}"),
            BlockStop(1),
            BlockStart(2, Text()),
        ]


class Log:
    """A stage that keeps what it sees, and is idle while no call is open."""

    done = False
    idle = True

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def pass_on(self, event: Event) -> list[Event]:
        self.seen.append(event)
        if isinstance(event, BlockStart):
            self.idle = not isinstance(event.block, ToolCall)
        return [event]


def test_more_of_a_block_is_steady_and_passes_only_the_stages_that_want_it() -> None:
    log = Log()
    decoder = Script(Start("", ""), BlockStart(0, Text()), Delta(0, "a"), Delta(0, "b"), BlockStop(0), FINISH)
    one = Answer(decoder, [log], StreamEncoder(HEADING))
    one.feed(b"2")
    assert not one.steady
    assert b'"text":"a"' in one.feed(b"1")
    assert one.steady
    assert b'"text":"b"' in one.feed(b"1")
    assert log.seen == [Start("", ""), BlockStart(0, Text())]
    one.feed(b"1")
    assert not one.steady


def test_what_a_stage_makes_of_more_is_seen_by_all_that_follow() -> None:
    log = Log()
    decoder = Script(Start("", ""), BlockStart(0, Text()), Delta(0, "f"), Delta(0, "b"), BlockStop(0), FINISH)
    one = Answer(decoder, [Once(), log], StreamEncoder(HEADING))
    one.feed(b"2")
    assert b'"name":"f"' in one.feed(b"1")
    assert not one.steady
    assert log.seen[2:] == [
        BlockStop(0),
        BlockStart(1, ToolCall("id", "f")),
        Delta(1, "{}"),
        BlockStop(1),
        BlockStart(2, Text()),
    ]


def test_a_start_alone_is_not_spoken() -> None:
    one = answer(Start("", ""), *HELLO, FINISH)
    assert one.feed(b"1") == b""
    assert not one.spoken
    told = one.feed(b"1")
    assert told.startswith(b"event: message_start\n")
    assert b"event: content_block_start\n" in told
    assert one.spoken
    assert not one.over


def test_a_failure_before_content_is_kept_for_an_honest_status() -> None:
    one = answer(Start("", ""), BOOM)
    assert one.feed(b"2") == b""
    assert one.failure == BOOM
    assert not one.spoken
    assert one.over


def test_a_failed_attempt_leaves_nothing_behind() -> None:
    """The next attempt's answer has the beginning that the first one never sent."""
    encoder = StreamEncoder(HEADING)
    answer(Start("", ""), BOOM, encoder=encoder).feed(b"2")
    told = answer(Start("", ""), *HELLO, FINISH, encoder=encoder).end()
    assert told.count(b"event: message_start\n") == 1
    assert told.startswith(b"event: message_start\n")


def test_a_beginning_that_was_sent_is_not_sent_again() -> None:
    encoder = StreamEncoder(HEADING)
    assert encoder.start(Usage())
    assert b"message_start" not in answer(Start("", ""), *HELLO, FINISH, encoder=encoder).end()


def test_a_failure_after_content_is_told() -> None:
    one = answer(Start("", ""), *HELLO)
    one.feed(b"3")
    assert one.cut(BOOM).startswith(b"event: error\n")
    assert one.failure == BOOM
    assert one.end() == b""


def test_nothing_follows_the_end() -> None:
    one = answer(Start("", ""), *HELLO, FINISH, BOOM)
    assert one.feed(b"5").endswith(b'{"type":"message_stop"}\n\n')
    assert one.usage == FINISH.usage
    assert one.feed(b"1") == b""
    assert one.failure is None


def test_an_empty_answer_has_its_beginning() -> None:
    told = answer(Start("", ""), FINISH).end()
    assert told.index(b"message_start") < told.index(b"message_delta")


def test_a_stage_may_end_the_answer() -> None:
    one = answer(Start("", ""), BlockStart(0, Text()), Delta(0, "one STOP two"), stop="STOP")
    assert b'"stop_sequence":"STOP"' in one.feed(b"3")
    assert one.over


def test_a_whole_answer_is_spoken_at_its_end_only() -> None:
    one = answer(Start("", ""), *HELLO, FINISH, encoder=WholeEncoder(HEADING))
    assert one.feed(b"4") == b""
    assert not one.spoken
    assert b'"text":"Hello"' in one.end()
    assert one.spoken


def test_an_answer_whose_end_is_known_settles_and_one_that_is_announced_is_over() -> None:
    script = Script()
    one = Answer(script, [], StreamEncoder(HEADING))
    assert not one.settling
    script.finished = True
    assert one.settling
    assert not one.over
    script.done = True
    assert one.announced
    assert one.over
