"""Laws of answers that broke off and were gone on with: whatever the cut, the client reads one answer.

The bytes of an answer are cut anywhere, and a model goes on with it: exactly, with its last words once more, or from
the beginning. The grammar holds, the text is whole with nothing twice, and no call is made twice or half.
"""

from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, json

from latimer.answer import Answer
from latimer.continuation.overlap import Overlap, last_words
from latimer.continuation.resume import Resume, closing, ending, resume
from latimer.continuation.seam import Seam
from latimer.continuation.shown import Shown
from latimer.dialects.messages.encoder import Heading, StreamEncoder
from latimer.dialects.messages.request import Request, decode_request
from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Reasoning, Start, Text, ToolCall, Usage, check
from latimer.profile import EndpointRules, MessageRules, Profile
from latimer.stages import Stage
from tests import reading, strategies
from tests.continuation.test_overlap import TEXTS
from tests.reading import Upstream
from tests.test_laws import assert_strict

LOST = Failure("api_error", "the connection was lost")
Way = Literal["exactly", "last words", "anew"]
WAYS = st.sampled_from(["exactly", "last words", "anew"])
REQUEST = decode_request(
    json.encode({"model": "m", "max_tokens": 100_000, "messages": [{"role": "user", "content": "Tell me."}]})
)


class Said(Struct, frozen=True):
    """What a model says in one answer."""

    thought: str
    text: str
    calls: tuple[str, ...]

    def events(self, piece: int, first: int = 0) -> list[Event]:
        """As a dialect streams it, a few characters at a time."""
        blocks: list[tuple[Any, str]] = [(Reasoning(), self.thought)] if self.thought else []
        blocks += [(Text(), self.text)] if self.text else []
        blocks += [(ToolCall(f"call_{first}{n}", "Bash"), call) for n, call in enumerate(self.calls)]
        events: list[Event] = [Start("id", "m", Usage(9))]
        for index, (block, data) in enumerate(blocks):
            deltas = [Delta(index, data[at : at + piece]) for at in range(0, len(data), piece)]
            events += [BlockStart(index, block), *deltas, BlockStop(index)]
        return [*events, Finish("tool_call" if self.calls else "stop", Usage(9, 5))]


CALLS = st.lists(st.integers(0, 99).map(lambda n: f'{{"command":"echo {n}"}}'), max_size=2).map(tuple)
ANSWERS = st.builds(Said, st.just("") | TEXTS, TEXTS, CALLS)


class Client:
    """What one client is sent, by an upstream that breaks off and is asked again."""

    def __init__(self, upstream: Upstream, request: Request = REQUEST, *, prefill: bool = False) -> None:
        self.upstream, self.asked = upstream, request
        self.profile = Profile(
            endpoint=EndpointRules(dialect=upstream.name),
            messages=MessageRules(prefill="native" if prefill else "reject"),
        )
        self.shown = Shown(StreamEncoder(Heading("msg_1", "m", "req_1")))
        self.received = b""
        self.following: Resume | None = None

    def hears(self, said: Said, *, piece: int, at: float = 1.0) -> bool:
        """Whether the answer was complete. Its bytes are cut after this part of them."""
        self.shown.begin()
        stream = self.upstream.stream(said.events(piece))
        cut = stream[: int(len(stream) * at)]
        stages: list[Stage] = [self.following.begin(self.profile)] if self.following else []
        answer = Answer(self.upstream.decoder(reading.READER), stages, self.shown)
        self.received += b"".join(answer.feed(cut[place : place + 50]) for place in range(0, len(cut), 50))
        self.received += answer.end() if at == 1.0 else answer.cut(LOST)
        return answer.failure is None

    def asks_again(self) -> bool:
        """Whether an answer that broke off goes on; else it has been ended."""
        if self.shown.failure is None:
            return True  # nothing more was shown, so it is asked the same once more
        self.shown.failure = None
        self.tells(closing(self.shown))
        if finish := ending(self.shown):
            self.tells([finish])
            return False
        self.following = resume(REQUEST, self.shown)
        assert self.following is not None
        self.asked = self.following.request(self.profile)
        return True

    def tells(self, events: list[Event]) -> None:
        self.received += b"".join(self.shown.encode(event) for event in events)

    def rest(self, whole: Said, way: Way, thought: str) -> Said:
        """What a model says that sees the conversation as it was asked."""
        shown = self.shown.text
        if not self.shown.said or way == "anew" or not shown.strip():
            return Said(thought, whole.text, whole.calls)
        again = shown[shown.rindex(last_words(shown)) :] if way == "last words" else ""
        return Said(thought, again + whole.text[len(shown) :], whole.calls)


@given(
    st.sampled_from(list(reading.UPSTREAMS.values())),
    ANSWERS,
    st.lists(st.tuples(WAYS, st.floats(0, 0.999), st.just("") | TEXTS), min_size=1, max_size=3),
    st.integers(1, 30),
    st.booleans(),
)
def test_the_client_reads_one_answer(
    upstream: Upstream, whole: Said, breaks: list[tuple[Way, float, str]], piece: int, prefill: bool
) -> None:
    client = Client(upstream, prefill=prefill)
    said, goes_on = whole, True
    for way, at, thought in breaks:
        if client.hears(said, piece=piece, at=at) or not (goes_on := client.asks_again()):
            break
        # Who is given the beginning of an answer is not asked for its last words, which may be few.
        said = client.rest(whole, "exactly" if prefill else way, thought)
    else:
        assert client.hears(said, piece=piece)
    assert_one_answer(client.received, whole, ended_early=not goes_on)


def assert_one_answer(received: bytes, whole: Said, *, ended_early: bool) -> None:
    events = reading.read_messages([received])
    check(events)
    assert isinstance(events[-1], Finish)
    assert_strict(received)
    message = reading.sdk_message(received)
    assert "".join(block.text for block in message.content if block.type == "text") == whole.text
    calls = [json.encode(block.input).decode() for block in message.content if block.type == "tool_use"]
    assert calls == list(whole.calls[: len(calls)])
    assert ended_early or len(calls) == len(whole.calls)
    assert message.stop_reason == ("tool_use" if whole.calls else "end_turn")
    texts = [block for block in message.content if block.type == "text"]
    assert len(texts) == 1 or all(block.text for block in texts)


@given(st.sampled_from(list(reading.UPSTREAMS.values())), ANSWERS, st.floats(0, 0.999), st.integers(1, 30))
def test_the_model_is_shown_what_the_client_was(upstream: Upstream, whole: Said, at: float, piece: int) -> None:
    client = Client(upstream)
    if client.hears(whole, piece=piece, at=at) or not client.asks_again() or not client.shown.said:
        return
    shown = client.shown.text
    more = client.asked.messages[len(REQUEST.messages) :]
    if not shown.strip():
        assert more == []
        return
    answer, question = more
    assert (answer.role, question.role) == ("assistant", "user")
    assert "".join(block.text for block in answer.blocks if hasattr(block, "text")) == shown
    assert last_words(shown) in question.blocks[0].text
    assert client.asked.body.max_tokens < REQUEST.body.max_tokens


class Passed:
    """An encoder that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def encode(self, event: Event) -> bytes:
        self.events.append(event)
        return b"."


@given(strategies.answers(), strategies.answers(), st.floats(0, 1), st.booleans())
def test_two_answers_of_any_kind_are_joined_by_the_grammar(
    first: list[Event], second: list[Event], at: float, asked: bool
) -> None:
    """Not only what models say: any blocks, any deltas in them, and an end at any place."""
    passed = Passed()
    shown = Shown(passed)
    for event in first[: 1 + int((len(first) - 1) * at)]:
        shown.encode(event)
    if shown.called or isinstance(first[0], Failure) or isinstance(passed.events[-1], Finish):
        return
    shown.encode(LOST)
    for event in closing(shown):
        shown.encode(event)
    told = len(passed.events)
    seam = Seam(shown, Overlap(shown.text, asked=asked), again=0)
    for event in second:
        for out in seam.pass_on(event):
            shown.encode(out)
    if isinstance(second[-1], Failure):
        shown.give_up(second[-1])
    check(passed.events)
    blocks = [event.block for event in second if isinstance(event, BlockStart)]
    if isinstance(second[-1], Finish):
        added = [event.block for event in passed.events[told:] if isinstance(event, BlockStart)]
        assert [block for block in added if not isinstance(block, Text | Reasoning)] == [
            block for block in blocks if not isinstance(block, Text | Reasoning)
        ]
        assert added.count(Reasoning()) == blocks.count(Reasoning()), "thinking may move, and is never lost"
