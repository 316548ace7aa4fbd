"""The laws of requests (7 and 8): nothing is lost silently, and a growing conversation keeps its prefix."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec import json as typed
from msgspec.structs import replace

from latimer.codecs import native_rules
from latimer.dialects.chat.request import encode_request as encode_chat
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.request import decode_request
from latimer.dialects.outgoing import Outgoing
from latimer.errors import Rejection
from latimer.profile import CacheRules, EndpointRules, Profile
from latimer.report import header
from tests import requests
from tests.dialects.messages.native.asking import ANTHROPIC, everything_but
from tests.reading import MESSAGES, ROUTE, UPSTREAMS
from tests.strategies import JUNK, spoiled

EXCEPTIONS: dict[str, str] = {
    "context_management.edits.*.keep": "obeyed before translation; a loss tells of everything that was cleared",
    "tools.*.input_schema.$schema": "names the schema's own language; nothing of the values depends on it",
}
"""Values that may vanish without a word, each with its reason. `requests.CONTROL` are those that cannot have a mark."""
HIDDEN = ".defer_loading"
"""A loss there says that the whole tool is not shown yet."""

NATIVES: dict[str, Profile] = {
    "default": Profile(),
    "local": requests.PROFILES["local"],
    "marks": Profile(cache=CacheRules(cache_control="pass")),
    "anthropic": ANTHROPIC,
    "insisting": everything_but(thinking_in_calls=True, mid_system="tagged", new_members=False, billing_line="strip"),
    "older": everything_but(
        deferred_tools=False, client_tools=False, fields=frozenset({"output_format"}), thinking=frozenset({"adaptive"})
    ),
}
"""Upstreams that speak Messages, from those that take next to nothing to Anthropic itself."""
PROFILES: dict[str, dict[str, Profile]] = {
    name: NATIVES if name == "messages" else requests.PROFILES for name in UPSTREAMS
}
GROWING = {"chat": ("messages", "tools"), "responses": ("input", "tools"), "messages": ("messages", "tools")}
"""The fields of a body that a conversation only adds to."""
MARKING = frozenset({"anthropic", "insisting", "older"})
"""Profiles with which the client's cache marks are sent on, which move."""

each_dialect = pytest.mark.parametrize("dialect", UPSTREAMS)


def encode(body: Any, dialect: str, profile: Profile, *, rebuilt: bool = False) -> Outgoing:
    """As the gateway does: a Messages upstream gets the client's bytes, unless its context was edited or `rebuilt`."""
    profile = replace(profile, endpoint=EndpointRules(UPSTREAMS[dialect].name))
    raw: bytes | None = requests.encoded(body)
    request = decode_request(raw or b"")
    if not native_rules(profile).takes("context_management"):
        request, removed = apply_edits(request, lambda: 10**6, len)
        raw = None if removed or request.compact else raw
    return UPSTREAMS[dialect].request(request, None if rebuilt else raw, model="model", route=ROUTE, profile=profile)


@each_dialect
@given(st.data(), requests.requests(), st.booleans())
def test_no_silent_loss(dialect: str, data: st.DataObject, body: dict[str, Any], rebuilt: bool) -> None:
    marks: dict[str, str] = {}
    planted = requests.plant(body, "", marks)
    profile = data.draw(st.sampled_from(sorted(PROFILES[dialect])))
    try:
        outgoing = encode(planted, dialect, PROFILES[dialect][profile], rebuilt=rebuilt)
    except Rejection as rejection:
        assert rejection.failure.status == 400
        return
    json.loads(outgoing.body)
    told = [loss.field.removesuffix(HIDDEN) for loss in outgoing.losses] + list(EXCEPTIONS)
    missing = {path for mark, path in marks.items() if not stands_in(mark.encode(), outgoing.body)}
    assert not {path for path in missing if not any(requests.covers(field, path) for field in told)}
    assert len(header(outgoing.losses)) <= 4096


def stands_in(mark: bytes, body: bytes) -> bool:
    """As it is, or in a file that went through as it came."""
    return mark in body or base64.b64encode(mark) in body


@each_dialect
@given(st.data(), requests.requests())
def test_any_json_is_served_or_rejected(dialect: str, data: st.DataObject, body: dict[str, Any]) -> None:
    altered = data.draw(requests.altered(data.draw(requests.altered(body))))
    profile = PROFILES[dialect][data.draw(st.sampled_from(sorted(PROFILES[dialect])))]
    try:
        json.loads(encode(altered, dialect, profile).body)
    except Rejection as rejection:
        assert 400 <= rejection.failure.status < 500
        assert rejection.failure.message


@given(st.data(), requests.requests())
def test_any_bytes_are_served_or_rejected(data: st.DataObject, body: dict[str, Any]) -> None:
    raw = data.draw(spoiled(requests.encoded(body)) | JUNK)
    try:
        request = decode_request(raw)
        encode_chat(request, model="model", route=ROUTE, profile=Profile())
        MESSAGES.request(request, raw, model="model", route=ROUTE, profile=Profile())
    except Rejection as rejection:
        assert rejection.failure.message


@pytest.mark.parametrize("name", ["messages", "metadata", "tools", "new", "thread", "compaction"])
def test_bottomless_nesting_is_rejected(name: str) -> None:
    raw = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"%s":[%s' % (
        name.encode(),
        b'{"a":' * 100_000,
    )
    with pytest.raises(Rejection, match="not valid JSON"):
        decode_request(raw)


@pytest.mark.parametrize(
    ("dialect", "profile"),
    [(dialect, name) for dialect in UPSTREAMS for name in PROFILES[dialect] if name not in ("marks", "loops")],
)
@given(requests.conversations())
def test_prefix_stability(dialect: str, profile: str, turns: list[dict[str, Any]]) -> None:
    """`marks` sends the client's cache marks on, which move; `loops` takes reasoning back once its loop is over, since
    its provider wants that.

    A Messages upstream gets the client's own words, so the law is about their meaning there: a text is a string or a
    block, and where the client's cache marks are sent on it moves them itself. Deferred tools are no part of a prefix.
    """
    before: dict[str, list[Any]] = {name: [] for name in GROWING[dialect]}
    for turn in turns:
        outgoing = encode(turn, dialect, PROFILES[dialect][profile])
        assert profile in MARKING or b"cache_control" not in outgoing.body
        body = typed.decode(outgoing.body, type=dict[str, Raw])
        for name, known in before.items():
            now: list[Any] = [bytes(item) for item in typed.decode(body[name], type=list[Raw])]
            if dialect == "messages":
                now = [item for item in map(meaning, now) if "defer_loading" not in item]
            assert now[: len(known)] == known
            before[name] = now


def meaning(item: bytes) -> Any:
    """A message or tool without cache marks, and a single text as the string that it stands for."""
    bare = unmarked(json.loads(item))
    match bare.get("content"):
        case [{"type": "text", "text": text}]:
            bare["content"] = text
    return bare


def unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if isinstance(value, dict):
        return {key: unmarked(inner) for key, inner in value.items() if key != "cache_control"}
    return value
