"""Every case directory, both ways, in every chunking, and through every upstream dialect."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.dialects.messages import encoder as messages
from latimer.dialects.messages.decoder import StreamDecoder as MessagesDecoder
from latimer.dialects.messages.decoder import decode_response
from latimer.dialects.messages.encoder import WholeEncoder
from latimer.dialects.messages.request import OLD_VERSION
from latimer.dialects.messages.slots import native_slots
from latimer.dialects.sealing import unseal
from latimer.errors import Failure, Rejection
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Opaque,
    OpaqueDelta,
    Reasoning,
    Signature,
    Start,
    ToolCall,
    check,
)
from tests.case_runner import BLESSED, CASES, CHUNKINGS, HANDWRITTEN, Case, all_cases, compact, name_of
from tests.reading import UPSTREAMS, Upstream
from tests.scenarios.checking import MalformedError
from tests.scenarios.ledger import Ledger
from tests.scenarios.messages_rules import MessagesRules
from tests.scenarios.responses_rules import ResponsesRules
from tests.scenarios.rules import Rules, parse

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


every_dialect = pytest.mark.parametrize("dialect", UPSTREAMS.values(), ids=UPSTREAMS)
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
        whole = case.whole()
        if case.way == "passed":  # it has what only its server knows
            whole = _written_anew(case, decode_response(whole))
        assert json.loads(_written_anew(case, events)) == json.loads(whole)


def _written_anew(case: Case, events: list[Event]) -> bytes:
    encoder = WholeEncoder(case.heading())
    encoder.slots = native_slots(case.request, case.outgoing.losses)
    return b"".join([encoder.encode(event) for event in events])


@answered
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
def test_the_answer_survives_the_clients_dialect(path: Path, whole: bool) -> None:
    events = Case(path).events()
    again = (_through_whole_messages if whole else _through_messages)(events)
    check(again)
    if isinstance(events[-1], Failure):
        assert isinstance(again[-1], Failure)
    else:
        assert _meaning(again) == _meaning(_said_whole(events) if whole else events)


@answered
@every_dialect
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
def test_the_answer_survives_every_upstream_dialect(path: Path, dialect: Upstream, whole: bool) -> None:
    case = Case(path)
    events = case.events()
    # A reader to which the answer's own ids and names are the upstream's.
    reader = replace(case.reader(), names={}, think_tags=False)
    again = dialect.read([dialect.whole(events) if whole else dialect.stream(events)], reader)
    check(again)
    if isinstance(events[-1], Failure):
        assert isinstance(again[-1], Failure)
        return
    if dialect.name == "messages":
        assert _meaning(again) == _meaning(_said_whole(events) if whole else events)
        return
    told, retold = _in_openai(_meaning(events)), _in_openai(_meaning(_unwrapped(again, case.route)))
    if dialect.name == "chat":
        told, retold = _in_chat(told, whole=whole), _in_chat(retold, whole=whole)
    assert retold == told


@continued
@every_dialect
def test_the_next_turn_begins_as_this_one_did(path: Path, dialect: Upstream) -> None:
    """Law 8: what the upstream has in its cache is not changed by what is said later."""
    case = Case(path)
    following = case.next_request()
    assert following is not None
    try:
        first, second = case.encode(case.raw_request, dialect), case.encode(following, dialect)
    except Rejection:
        assert dialect is not case.upstream_dialect
        return
    before, after = json.loads(first.body), json.loads(second.body)
    said = before[dialect.said]
    assert after[dialect.said][: len(said)] == said
    assert after.get("tools", [])[: len(before.get("tools", []))] == before.get("tools", [])
    assert after.get("instructions") == before.get("instructions")
    assert after.get("system") == before.get("system")


@plain
@every_dialect
def test_the_strictest_server_takes_every_request(path: Path, dialect: Upstream) -> None:
    case = Case(path)
    following = case.next_request() if case.upstream is not None else None
    for request in (case.raw_request, following):
        if request is None:
            continue
        try:
            body = parse(case.encode(request, dialect).body)
        except Rejection:
            assert dialect is not case.upstream_dialect
            continue
        if dialect.name == "chat":
            Rules(model="m", message_keys=LENIENT).check(body)
        elif dialect.name == "responses":
            ResponsesRules(model="m").check(body, _ledger(case))
        elif _is_legal(json.loads(request)):
            headers = case.encode(request, dialect).headers
            MessagesRules(model="m", mid_system=False).check(body, headers, _thoughts_of(body))


def _is_legal(body: dict[str, Any]) -> bool:
    """Whether the client itself kept to the rules. What it has wrong its upstream tells it best."""
    try:
        MessagesRules(model=body["model"]).check(body, {"anthropic-version": OLD_VERSION}, _thoughts_of(body))
    except MalformedError:
        return False
    return True


def _thoughts_of(body: dict[str, Any]) -> Ledger:
    """All thinking of a request as said by the upstream, which is not what is asked here."""
    ledger = Ledger()
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block.get("type") == "thinking":
                thought: Any = SimpleNamespace(reasoning=block["thinking"])
                ledger.reasoning[block["signature"]] = thought
    return ledger


def _ledger(case: Case) -> Ledger:
    """What the upstream has said, for a server that takes back nothing else."""
    ledger = Ledger()
    events = case.events() if case.upstream is not None else []
    calls = [event.block for event in events if isinstance(event, BlockStart) and isinstance(event.block, ToolCall)]
    said: Any = SimpleNamespace(text=True, calls=calls)
    for event in events:
        sealed = unseal(event.data, case.route) if isinstance(event, Signature) else None
        if sealed:
            ledger.items |= {sealed.id}
            ledger.reasoning[sealed.encrypted] = said
    return ledger


def test_every_directory_is_a_case_of_a_known_dialect() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == UPSTREAMS.keys()
    names = [path.name for path in all_cases()]
    assert len(set(names)) == len(names), "each is a provider of its own in tests/interop"
    for path in all_cases():
        files = {file.name for file in path.iterdir()}
        assert "request.json" in files, path
        assert files <= HANDWRITTEN | BLESSED, path
        refused = Case(path).refusal is not None
        assert refused == (not files & {"upstream.sse", "upstream.json"}), path


def _through_messages(events: list[Event]) -> list[Event]:
    encoder = messages.StreamEncoder(_open_heading(events))
    decoder = MessagesDecoder()
    return decoder.decode(b"".join([encoder.encode(event) for event in events])) + decoder.flush()


def _through_whole_messages(events: list[Event]) -> list[Event]:
    return decode_response(messages.encode_response(events, _open_heading(events)))


def _open_heading(events: list[Event]) -> messages.Heading:
    start = events[0] if isinstance(events[0], Start) else Start("", "")
    return messages.Heading(start.id, start.model, "req_case")


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


def _said_whole(events: list[Event]) -> list[Event]:
    """What a whole message has a place for: of deltas without a word in the hub a tool's input, and citations, which
    stand behind their text.
    """
    out: list[Event] = []
    citations: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, OpaqueDelta) and isinstance(last, BlockStart) and isinstance(last.block, Opaque):
            joined = json.loads(last.block.raw) | {"input": json.loads(json.loads(event.raw)["partial_json"])}
            out[-1] = replace(last, block=replace(last.block, raw=compact(joined)))
        elif isinstance(event, OpaqueDelta):
            citations += [event] if b'"citations_delta"' in event.raw else []
        else:
            out += [*citations, event] if isinstance(event, BlockStop) else [event]
            citations = [] if isinstance(event, BlockStop) else citations
    return out


def _value(arguments: str) -> str:
    """Arguments in one spelling; those that were cut off as a whole message has them."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = {"__unparsedToolInput": {"raw": arguments, "len": len(arguments)}}
    return json.dumps(value)


def _unwrapped(events: list[Event], route: str) -> list[Event]:
    """Signatures as they were told: Responses carries one as what is encrypted, and its reader seals that again."""
    return [
        replace(event, data=sealed.encrypted)
        if isinstance(event, Signature) and (sealed := unseal(event.data, route)) and sealed.encrypted
        else event
        for event in events
    ]


def _in_openai(events: list[Event]) -> list[Event]:
    """What both of OpenAI's dialects have words for: no explanation, no stop sequence, one word for the limit and the
    full window, and none for a pause; no searches, and no blocks of Anthropic's own.
    """
    words: dict[FinishReason, FinishReason] = {"context_window": "length", "pause": "stop"}
    out: list[Event] = []
    opaque: set[int] = set()
    for event in events:
        if isinstance(event, Finish):
            usage = replace(event.usage, web_searches=0, web_fetches=0)
            reason = words.get(event.reason, event.reason)
            out.append(replace(event, explanation=None, reason=reason, stop_sequence=None, usage=usage))
        elif isinstance(event, BlockStart) and isinstance(event.block, Opaque):
            opaque.add(event.index)
        elif not isinstance(event, OpaqueDelta) and getattr(event, "index", -1) not in opaque:
            skipped = sum(index < getattr(event, "index", -1) for index in opaque)
            out.append(replace(event, index=event.index - skipped) if skipped else event)  # type: ignore[union-attr]
    return _meaning(out)


def _in_chat(events: list[Event], *, whole: bool) -> list[Event]:
    """What Chat Completions has words for: no signatures, and so no blocks that hold only these.

    It has no borders between blocks of a kind, and a whole message has one field of each, so their order is not in it.
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
    ending = [event for event in events if isinstance(event, Finish)]
    numbered = [replace(event, index=place) for place, block in enumerate(_joined(kept)) for event in block]  # type: ignore[type-var]
    return [*[event for event in events if isinstance(event, Start)], *(_by_kind(kept) if whole else numbered), *ending]


def _joined(blocks: list[list[Event]]) -> list[list[Event]]:
    """Neighbouring texts, or neighbouring reasoning, as one block."""
    out: list[list[Event]] = []
    for block in blocks:
        start, before = block[0], out[-1] if out else None
        alike = before is not None and isinstance(start, BlockStart) and start.block == before[0].block  # type: ignore[union-attr]
        if before is not None and alike and not isinstance(start.block, ToolCall):  # type: ignore[union-attr]
            said = "".join(event.data for event in [*before, *block] if isinstance(event, Delta))
            before[1:] = [Delta(before[0].index, said), BlockStop(before[0].index)]  # type: ignore[union-attr]
        else:
            out.append(list(block))
    return out


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
