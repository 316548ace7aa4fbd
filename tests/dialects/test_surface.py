"""The tables of what becomes of each part of the API: complete by the SDK's types, and true by what the code does."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec import json as typed

from latimer.answer import Answer
from latimer.codecs import Destination, encode_request
from latimer.dialects.chat.response import ResponseDecoder
from latimer.dialects.chat.surface import request as over_chat
from latimer.dialects.chat.surface.answer import ANSWER, FROM_UPSTREAM
from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages.edits import ASKED, apply_edits
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder, encode_failure, encode_usage
from latimer.dialects.messages.request import AppliedEdit, Compacted, decode_request
from latimer.dialects.messages.slots import Slots
from latimer.dialects.messages.surface import request as over_messages
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.responses.surface import request as over_responses
from latimer.dialects.surface import MEANINGS, Row, find, told_in
from latimer.dialects.surface_rows.request import HEADERS
from latimer.errors import STATUS, Failure, Rejection
from latimer.events import Finish, FinishReason, Usage
from latimer.profile import EndpointRules, Profile
from latimer.report import Loss
from latimer.server_tools.plan import Abilities, asks_server, prepare
from latimer.server_tools.results import (
    RESULT_OF,
    WORDS,
    Found,
    Page,
    error_content,
    fetch_content,
    references_content,
    search_content,
)
from latimer.wire import sse
from tests.case_runner import CASES, Case, all_cases
from tests.requests import covers
from tests.sdk_surface import (
    MARK,
    Leaf,
    answer_names,
    beta_names,
    names_in,
    older_leaves,
    plain_answer,
    request_leaves,
    upstream_leaves,
)

SERVER_NAMES = ("web_search", "web_fetch", "tool_search_tool_regex", "tool_search_tool_bm25")
RESULTS: list[tuple[Any, Any]] = [
    ("web_search", search_content([Found("t", "https://example.org", "words", "2 days")])),
    ("web_fetch", fetch_content(Page("https://example.org", "t", "words"), "2026-01-01T00:00:00Z")),
    ("tool_search", references_content(["Bash"])),
    *((kind, error_content(kind, code)) for kind in RESULT_OF for code in WORDS),
]
ROOT = Path(__file__).parent.parent.parent
REQUESTS = {
    dialect: (*table.FIELDS, *table.BLOCKS, *table.TOOLS)
    for dialect, table in (("chat", over_chat), ("responses", over_responses), ("messages", over_messages))
}
PROFILES = {dialect: Profile(endpoint=EndpointRules(dialect)) for dialect in ("chat", "responses", "messages")}
HEADERS_OF = (HEADERS, over_messages.HEADERS)
EVERY_ROW = (*(row for rows in (*REQUESTS.values(), *HEADERS_OF) for row in rows), *ANSWER, *FROM_UPSTREAM)
LEAVES = request_leaves() | older_leaves()
UPSTREAM = upstream_leaves()
OTHER_HEADERS = re.compile("anthropic-(version|user|workspace)|authorization|x-api-key|content-encoding")
SAID = {"carried", "emulated", "approximated"}
WEB_BLOCKS = [
    *({"type": "server_tool_use", "id": "i", "name": name, "input": {}} for name in SERVER_NAMES),
    *({"type": RESULT_OF[kind], "tool_use_id": "i", "content": content} for kind, content in RESULTS),
    {"type": "tool_use", "id": "i", "name": "left_click", "toolset_name": "computer", "input": {}},
]
"""What Latimer's own tools say, built as the gateway builds it."""


def sent(body: dict[str, Any], dialect: str) -> Outgoing:
    """A request on the whole way that the gateway takes it, web tools configured. Raises `Rejection`."""
    raw: bytes | None = json.dumps(body).encode()
    request, removed = apply_edits(decode_request(raw or b""), lambda: 10**8, len)
    raw = None if removed or request.compact else raw
    if asks_server(request):
        request, _ = prepare(request, Abilities(search="duckduckgo", fetch=True))
        raw = None
    return encode_request(request, Destination("m", "provider/m", PROFILES[dialect]), raw=raw)


def outcome(leaf: Leaf, dialect: str) -> set[str]:
    """What happens to a part, in the words of the tables."""
    try:
        outgoing = sent(leaf.body, dialect)
    except Rejection as rejection:
        assert rejection.failure.status in (400, 404)
        names = {leaf.where, leaf.value or leaf.where, *re.findall(r"[a-z_]{4,}", leaf.path)}
        assert any(name in rejection.failure.message for name in names), rejection.failure.message
        return {"rejected"}
    places = (leaf.where, f"{leaf.where}.type") if isinstance(leaf.given, dict) else (leaf.where,)
    fields = [(loss.field.removesuffix(".defer_loading"), loss.action) for loss in outgoing.losses]
    told = {action for field, action in fields if any(covers(field, place) for place in places)}
    if leaf.path.startswith("context_management"):
        told |= {loss.action for loss in outgoing.losses if loss.why == ASKED}
    if told:
        return set(told)
    if leaf.bare is None and leaf.value and not leaf.value.startswith("<"):
        return {"carried", "met"}  # a word that must be there has nothing to be compared with
    if any(word in outgoing.body for word in words(leaf.given)):
        return {"carried"}
    if leaf.bare is None:
        return {"carried"} if type(leaf.given) is int and b"%d" % leaf.given in outgoing.body else {"met"}
    return {"met"} if json.loads(sent(leaf.bare, dialect).body) == json.loads(outgoing.body) else {"carried"}


def words(value: Any) -> list[bytes]:
    """What must be found in the upstream's request for a value to have been carried."""
    if isinstance(value, dict):
        return [word for key, inner in value.items() if key != "type" for word in words(inner)]
    if isinstance(value, list):
        return [word for inner in value for word in words(inner)]
    text = str(value)
    return [text.encode()] if len(text) > 6 else []


def owner(name: str) -> str:
    return ".".join(name.partition("=")[0].split(".")[:2])


def disagreement(rows: tuple[Row, ...], name: str, happens: set[str]) -> str:
    """What is wrong with the tables about a part, '' when nothing is."""
    row = find(rows, name)
    if row is None:
        return f"{name}: the SDK knows it, the tables of the dialect do not"
    if row.action in happens:
        return ""
    return f"{name}: the row {row.field!r} says {row.action}, the code does {', '.join(sorted(happens))}"


@pytest.mark.parametrize("dialect", REQUESTS)
@pytest.mark.parametrize("part", sorted({owner(name) for name in LEAVES}))
def test_each_part_of_a_request(part: str, dialect: str) -> None:
    leaves = [(name, leaf) for name, leaf in LEAVES.items() if owner(name) == part]
    found = [disagreement(REQUESTS[dialect], name, outcome(leaf, dialect)) for name, leaf in leaves]
    assert not [text for text in found if text]


def test_every_beta_of_the_sdk_has_a_row() -> None:
    for rows in HEADERS_OF:
        assert not [beta for beta in beta_names() if find(rows, f"anthropic-beta={beta}") is None]


# --- answers --------------------------------------------------------------------------------------------------------


@cache
def seen() -> frozenset[str]:
    """Everything that stands in the answers to all cases, in those of the web tools, and in errors. What an upstream
    says in Messages itself goes through, whatever it is.
    """
    found: set[str] = set()
    for path in [path for path in all_cases() if path.parent.name != "messages"]:
        case = Case(path)
        for body in [case.refusal] if case.upstream is None else [case.whole(), *events_of(case.stream())]:
            found |= names_of_answer(json.loads(body or b"null"))
    for block in WEB_BLOCKS:
        found |= names_in({"type": "message", "content": [block]})
    paused = Finish("pause", Usage(web_searches=1, web_fetches=1))
    ends = [Finish("stop", Usage(), tier="priority"), paused]
    for finish in ends:
        heading = Heading("msg_1", "claude", "req_1")
        found |= names_of_answer(json.loads(WholeEncoder(heading).encode(finish)))
        streamed = events_of(StreamEncoder(heading).encode(finish))
        found |= {name for body in streamed for name in names_of_answer(json.loads(body))}
    found |= names_of_compaction("compaction") | names_of_compaction("stop")
    for kind in STATUS:
        found |= names_of_answer(encode_failure(Failure(kind, "m", {"error_code": "c"}), "req_1"))
    edits = (
        AppliedEdit("clear_thinking_20251015", 1, cleared_thinking_turns=1),
        AppliedEdit("clear_tool_uses_20250919", 1, cleared_tool_uses=1),
    )
    for edit in edits:
        applied = {"context_management": {"applied_edits": [json.loads(typed.encode(edit))]}}
        found |= names_in({"type": "message", **applied}) | names_in({"type": "message_delta", **applied})
    return frozenset(found)


def names_of_compaction(reason: FinishReason) -> set[str]:
    """What stands in an answer that begins with a summary."""
    whole, stream = (kind(Heading("msg_1", "claude", "req_1")) for kind in (WholeEncoder, StreamEncoder))
    for encoder in (whole, stream):
        encoder.slots = Slots(compacted=Compacted("words", encode_usage(Usage())))
    bodies = [whole.encode(Finish(reason, Usage())), *events_of(stream.encode(Finish(reason, Usage())))]
    return {name for body in bodies for name in names_of_answer(json.loads(body))}


def events_of(stream: bytes) -> list[bytes]:
    return [event.data for event in sse.Decoder().decode(stream)]


def names_of_answer(body: Any) -> set[str]:
    if isinstance(body, dict) and body.get("type") == "error":
        error = body["error"]
        return {"error", f"error.type={error['type']}", *(f"error.{name}" for name in error if name != "type")}
    return names_in(body) if isinstance(body, dict) else set()


def test_answers_are_what_the_rows_say() -> None:
    found = seen()
    names = sorted(name for name in answer_names() if not name.startswith("message.model="))
    wrong = [disagreement(ANSWER, name, SAID if name in found else {"absent"}) for name in names]
    assert not [text for text in wrong if text]


@pytest.mark.parametrize("part", sorted({owner(name) for name in upstream_leaves()}))
def test_each_part_of_an_upstreams_answer(part: str) -> None:
    found = [disagreement(FROM_UPSTREAM, name, heard(body)) for name, body in UPSTREAM.items() if owner(name) == part]
    assert not [text for text in found if text]


def heard(partial: dict[str, Any]) -> set[str]:
    """What becomes of a part of an upstream's answer, put into one that is whole without it."""
    plain = told(plain_answer())
    body = merged(plain_answer(), partial)
    message, losses = told(body)
    if message["type"] == "error":
        return {"rejected"}
    if losses:
        return {loss.action for loss in losses}
    return {"met"} if message == plain[0] and MARK not in json.dumps(message) else {"carried"}


def told(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    asked = Asked("provider", "provider/m", "", "claude", 50, 0, None)
    answer = Answer(ResponseDecoder(Reader(asked, "msg_1", {})), [], WholeEncoder(Heading("msg_1", "claude", "req_1")))
    out = answer.feed(json.dumps(body).encode()) + answer.end()
    failed = encode_failure(answer.failure, "req_1") if answer.failure else {}
    return (failed or json.loads(out)), answer.losses


def merged(plain: Any, partial: Any) -> Any:
    """The plain answer with the part in it; a call has what makes it one."""
    if isinstance(plain, dict) and isinstance(partial, dict):
        both = plain | {name: merged(plain.get(name), value) for name, value in partial.items()}
        if "tool_calls" in partial or "function_call" in partial:
            both |= {name: call_with(value) for name, value in partial.items()}
        return both
    if isinstance(plain, list) and isinstance(partial, list):
        return [merged(plain[0], partial[0]), *plain[1:]]
    return partial


def call_with(value: Any) -> Any:
    if isinstance(value, list):
        known = {"id": "call_1", "type": value[0]["type"], "function": {"name": "Bash", "arguments": "{}"}}
        if value[0]["type"] == "custom":
            known = {"id": "call_1", "type": "custom"}
        return [merged(known, value[0])]
    return {"name": "Bash", "arguments": "{}"} | value if isinstance(value, dict) else value


# --- the tables themselves ------------------------------------------------------------------------------------------


def test_each_row_is_about_something() -> None:
    """A row for what no SDK knows would never be noticed."""
    names = {
        **{rows: list(LEAVES) for rows in REQUESTS.values()},
        **{rows: [f"anthropic-beta={beta}" for beta in beta_names()] for rows in HEADERS_OF},
        ANSWER: list(answer_names()),
        FROM_UPSTREAM: list(UPSTREAM),
    }
    idle = [row.field for rows, known in names.items() for row in rows if not any(row.covers(name) for name in known)]
    assert not [field for field in idle if not OTHER_HEADERS.match(field)]


@pytest.mark.parametrize("shown", sorted({row.shown for row in EVERY_ROW}))
def test_each_row_names_its_test(shown: str) -> None:
    path, _, name = shown.partition("::")
    if not path.startswith("tests/"):
        assert list(CASES.glob(f"*/{path}"))
        return
    assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert (ROOT / path).is_file()


def test_a_dialect_tells_shared_rows_in_its_own_words() -> None:
    shared = (Row("a", "met", "{word} here", "x"), Row("b", "met", "there", "x"))
    own = Row("b", "carried", "everywhere", "y")
    assert told_in({"word": "`w`"}, shared, [own]) == (Row("a", "met", "`w` here", "x"), own)
    with pytest.raises(KeyError):
        told_in({}, shared)


def test_no_row_is_empty() -> None:
    assert all(row.field and row.how and row.shown for row in EVERY_ROW)
    assert {row.action for row in EVERY_ROW} <= MEANINGS.keys()
