"""A further answer, joined to the one before."""

from collections.abc import Iterable

from latimer.continuation.overlap import Overlap
from latimer.continuation.seam import CONTINUED, Seam
from latimer.continuation.shown import Shown
from latimer.dialects.messages.encoder import Heading, StreamEncoder
from latimer.errors import Failure
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
    check,
)

CALL = ToolCall("c", "Bash")
END = Finish("stop", Usage(100, 5, 40))


def block(index: int, kind: Block, *said: str, signature: str = "") -> list[Event]:
    signed: list[Event] = [Signature(index, signature)] if signature else []
    return [BlockStart(index, kind), *(Delta(index, data) for data in said), *signed, BlockStop(index)]


def joined(before: list[Event], after: Iterable[Event], *, again: int = 0) -> tuple[list[Event], Seam]:
    """What the further answer adds, which with the one before is one answer by the grammar."""
    shown = Shown(StreamEncoder(Heading("msg_1", "m", "req_1")))
    before = [Start("i", "m", Usage(90)), *before]
    for event in before:
        shown.encode(event)
    seam = Seam(shown, Overlap(shown.text, asked=True), again=again)
    added = [out for event in [Start("j", "m"), *after] for out in seam.pass_on(event)]
    check([*before, *added])
    return added, seam


OPEN = block(0, Text(), "one two")[:-1]
CLOSED = block(0, Text(), "one two")


def test_the_open_text_goes_on() -> None:
    added, _ = joined(OPEN, [*block(0, Text(), "one two", " three"), END])
    assert added[:-1] == [Delta(0, " three"), BlockStop(0)]


def test_finished_text_is_followed_by_more() -> None:
    added, _ = joined(CLOSED, [*block(0, Text(), "one two", " three"), END])
    assert added[:-1] == block(1, Text(), " three")


def test_text_with_nothing_new_adds_no_block() -> None:
    added, _ = joined(CLOSED, [*block(0, Text(), "one two"), *block(1, CALL, "{}"), END])
    assert added[:-1] == block(1, CALL, "{}")
    assert joined(OPEN, [*block(0, Text(), "one two"), END])[0][:-1] == [BlockStop(0)]


def test_a_call_closes_the_open_text() -> None:
    added, _ = joined(OPEN, [*block(0, CALL, "{}"), END])
    assert added[:-1] == [BlockStop(0), *block(1, CALL, "{}")]


def test_thinking_waits_for_the_end_of_the_open_text() -> None:
    """Nothing of it is lost: its signature may hold what the provider wants back with the calls."""
    thought = block(0, Reasoning(), "hm", signature="sig")
    added, _ = joined(OPEN, [*thought, *block(1, Text(), " three"), *block(2, CALL, "{}"), END])
    after = [*block(1, Reasoning(), "hm", signature="sig"), *block(2, CALL, "{}")]
    assert added[:-1] == [Delta(0, " three"), BlockStop(0), *after]
    for following in ([END], [*block(1, CALL, "{}"), END]):
        added, _ = joined(OPEN, [*thought, *following])
        assert added[:5] == [BlockStop(0), *block(1, Reasoning(), "hm", signature="sig")]


def test_thinking_that_was_cut_off_is_followed_by_a_new_answer() -> None:
    before = block(0, Reasoning(), "hm, I")
    added, _ = joined(before, [*block(0, Reasoning(), "hm"), *block(1, Text(), "yes"), END])
    assert added[:-1] == [*block(1, Reasoning(), "hm"), *block(2, Text(), "yes")]


def test_only_the_first_text_is_compared() -> None:
    added, _ = joined(OPEN, [*block(0, Text(), " three"), *block(1, Text(), "one two"), END])
    assert added[:-1] == [Delta(0, " three"), BlockStop(0), *block(1, Text(), "one two")]


def test_what_the_hub_has_no_word_for_stays_in_its_block() -> None:
    cited = OpaqueDelta(0, b'{"type":"citations_delta"}')
    added, _ = joined(CLOSED, [BlockStart(0, Text()), cited, Delta(0, "three"), BlockStop(0), END])
    assert added[:-1] == [
        BlockStart(1, Text()),
        OpaqueDelta(1, cited.raw),
        Delta(1, "three"),
        BlockStop(1),
    ]


def test_usage_is_that_of_one_answer() -> None:
    added, seam = joined(OPEN, [*block(0, Text(), " three"), END], again=2)
    assert added[-1] == Finish("stop", Usage(98, 7, 40))
    assert seam.usage == END.usage
    added, _ = joined(OPEN, [*block(0, Text(), " three"), END], again=99)
    assert added[-1] == Finish("stop", Usage(40, 7, 40)), "what came from the cache is part of the prompt"


def test_it_says_that_the_answer_was_gone_on_with() -> None:
    _, seam = joined(OPEN, [END])
    assert [repair.why for repair in seam.repairs] == [CONTINUED]


def test_a_failure_passes_whatever_waits() -> None:
    lost = Failure("api_error", "lost")
    for before in (block(0, Text(), "one")[:-1], block(0, Reasoning(), "hm")[:-1]):
        added, _ = joined(OPEN, [*before, lost])
        assert added == [lost]
