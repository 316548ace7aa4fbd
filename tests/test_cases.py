"""Every case directory, both ways, in every chunking, and through every upstream dialect."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.dialects.chat import encoder as chat
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.messages import encoder as messages
from latimer.dialects.messages.decoder import StreamDecoder as MessagesDecoder
from latimer.dialects.messages.decoder import decode_response
from latimer.dialects.messages.encoder import WholeEncoder
from latimer.dialects.messages.slots import native_slots
from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Reasoning, Signature, Start, ToolCall, check
from tests.case_runner import BLESSED, CASES, CHUNKINGS, HANDWRITTEN, Case, all_cases, name_of
from tests.scenarios.rules import Rules, parse

DIALECTS = frozenset({"chat"})
LENIENT = frozenset({"reasoning_content", "reasoning", "reasoning_text", "reasoning_details"})

every_case = pytest.mark.parametrize("path", all_cases(), ids=name_of)
answered = pytest.mark.parametrize(
    "path", [path for path in all_cases() if Case(path).upstream is not None], ids=name_of
)


def goes_on(path: Path) -> bool:
    """Whether there is a next turn that begins with all of this one."""
    case = Case(path)
    if case.upstream is None or case.next_request() is None:
        return False
    return case.request.messages[-1].role != "assistant" and not any(m.clear_at for m in case.request.messages)


def is_plain(path: Path) -> bool:
    """Whether any server should take the request as it is sent."""
    return not (path / "profile.toml").exists() and Case(path).refusal is None


continued = pytest.mark.parametrize("path", [path for path in all_cases() if goes_on(path)], ids=name_of)
plain = pytest.mark.parametrize("path", [path for path in all_cases() if is_plain(path)], ids=name_of)


@every_case
def test_every_expected_file_is_what_the_code_gives(path: Path) -> None:
    expected = dict(Case(path).blessed())
    assert {file.name for file in path.iterdir()} & BLESSED == expected.keys(), "python -m tests.bless"
    for name, content in expected.items():
        assert (path / name).read_text("utf-8") == content.decode(), f"{name}: python -m tests.bless"


@answered
@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_chunking_changes_nothing(path: Path, chunking: str) -> None:
    case = Case(path)
    assert case.stream(CHUNKINGS[chunking]) == case.stream()
    assert case.whole(CHUNKINGS[chunking]) == case.whole()


@answered
def test_the_answer_obeys_the_grammar(path: Path) -> None:
    check(Case(path).events())


@answered
def test_the_whole_message_is_the_stream_folded(path: Path) -> None:
    case = Case(path)
    decoder = MessagesDecoder()
    events = decoder.decode(case.stream()) + decoder.flush()
    if isinstance(events[-1], Finish):
        encoder = WholeEncoder(case.heading())
        encoder.slots = native_slots(case.request, case.outgoing.losses)
        folded = json.loads(b"".join([encoder.encode(event) for event in events]))
        assert folded == json.loads(case.whole())


@answered
@pytest.mark.parametrize("dialect", ["messages", "messages, whole", "chat", "chat, whole"])
def test_the_answer_survives_every_upstream_dialect(path: Path, dialect: str) -> None:
    case = Case(path)
    events = case.events()
    again = _RE_READ[dialect](case, events)
    check(again)
    if isinstance(events[-1], Failure):
        assert isinstance(again[-1], Failure)
    elif dialect.startswith("messages"):
        assert _meaning(again) == _meaning(events)
    else:
        whole = dialect.endswith("whole")
        assert _in_chat(_meaning(again), whole=whole) == _in_chat(_meaning(events), whole=whole)


@continued
def test_the_next_turn_begins_as_this_one_did(path: Path) -> None:
    """Law 8: what the upstream has in its cache is not changed by what is said later."""
    case = Case(path)
    following = case.next_request()
    assert following is not None
    before, after = json.loads(case.outgoing.body), json.loads(case.encode(following).body)
    said = before["messages"]
    assert after["messages"][: len(said)] == said
    assert after.get("tools", [])[: len(before.get("tools", []))] == before.get("tools", [])


@plain
def test_the_strictest_server_takes_every_request(path: Path) -> None:
    case = Case(path)
    Rules(model="m", message_keys=LENIENT).check(parse(case.outgoing.body))
    following = case.next_request() if case.upstream is not None else None
    if following is not None:
        Rules(model="m", message_keys=LENIENT).check(parse(case.encode(following).body))


def test_every_directory_is_a_case_of_a_known_dialect() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == DIALECTS
    for path in all_cases():
        files = {file.name for file in path.iterdir()}
        assert "request.json" in files, path
        assert files <= HANDWRITTEN | BLESSED, path
        refused = Case(path).refusal is not None
        assert refused == (not files & {"upstream.sse", "upstream.json"}), path


def _through_messages(case: Case, events: list[Event]) -> list[Event]:
    encoder = messages.StreamEncoder(_open_heading(events))
    decoder = MessagesDecoder()
    return decoder.decode(b"".join([encoder.encode(event) for event in events])) + decoder.flush()


def _through_whole_messages(case: Case, events: list[Event]) -> list[Event]:
    return decode_response(messages.encode_response(events, _open_heading(events)))


def _open_heading(events: list[Event]) -> messages.Heading:
    start = events[0] if isinstance(events[0], Start) else Start("", "")
    return messages.Heading(start.id, start.model, "req_case")


def _through_chat(case: Case, events: list[Event]) -> list[Event]:
    encoder = chat.StreamEncoder()
    decoder = ResponseDecoder(_fresh(case))
    return decoder.decode(b"".join([encoder.encode(event) for event in events])) + decoder.flush()


def _through_whole_chat(case: Case, events: list[Event]) -> list[Event]:
    decoder = ResponseDecoder(_fresh(case))
    return decoder.decode(chat.encode_response(events)) + decoder.flush()


def _fresh(case: Case) -> Any:
    """A reader to which the answer's own ids and names are the upstream's."""
    return replace(case.reader(), names={}, think_tags=False)


_RE_READ = {
    "messages": _through_messages,
    "messages, whole": _through_whole_messages,
    "chat": _through_chat,
    "chat, whole": _through_whole_chat,
}


def _meaning(events: Iterable[Event]) -> list[Event]:
    """Neighbouring deltas as one, arguments as values, the start without its estimated usage, nothing reported."""
    out: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            out[-1] = Delta(last.index, last.data + event.data)
        elif isinstance(event, Start):
            out.append(Start(event.id, event.model))
        elif isinstance(event, Finish):
            out.append(replace(event, losses=()))
        else:
            out.append(event)
    calls = {event.index for event in out if isinstance(event, BlockStart) and isinstance(event.block, ToolCall)}
    return [
        Delta(event.index, _value(event.data)) if isinstance(event, Delta) and event.index in calls else event
        for event in out
    ]


def _value(arguments: str) -> str:
    """Arguments in one spelling; those that were cut off as a whole message has them."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = {"__unparsedToolInput": {"raw": arguments, "len": len(arguments)}}
    return json.dumps(value)


def _in_chat(events: list[Event], *, whole: bool) -> list[Event]:
    """What Chat Completions has words for: no signatures, no explanations, no blocks that hold only these.

    A whole message has one field of each kind, so order and borders of its texts are not in it.
    """
    blocks: list[list[Event]] = []
    for event in events:
        match event:
            case BlockStart():
                blocks.append([event])
            case Delta() | BlockStop():
                blocks[-1].append(event)
            case _:
                pass
    kept = [block for block in blocks if not (isinstance(block[0], BlockStart) and _is_empty_reasoning(block))]
    full = {"context_window": "length"}  # OpenAI has one word for both
    ending = [
        replace(event, explanation=None, reason=full.get(event.reason, event.reason))
        for event in events
        if isinstance(event, Finish)
    ]
    numbered = [replace(event, index=place) for place, block in enumerate(kept) for event in block]  # type: ignore[type-var]
    return [*[event for event in events if isinstance(event, Start)], *(_by_kind(kept) if whole else numbered), *ending]


def _is_empty_reasoning(block: list[Event]) -> bool:
    start = block[0]
    return isinstance(start, BlockStart) and isinstance(start.block, Reasoning) and len(block) == 2


def _by_kind(blocks: list[list[Event]]) -> list[Any]:
    merged: dict[object, str] = {}
    for block in blocks:
        start, *rest = block
        assert isinstance(start, BlockStart)
        data = "".join(event.data for event in rest if isinstance(event, Delta | Signature))
        merged[start.block] = merged.get(start.block, "") + data
    return sorted(merged.items(), key=repr)
