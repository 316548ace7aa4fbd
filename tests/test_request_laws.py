"""The laws of requests (7 and 8): nothing is lost silently, and a growing conversation keeps its prefix."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec import json as typed

from latimer.dialects.chat.request import encode_request as encode_chat
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.request import decode_request
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.responses.request import encode_request as encode_responses
from latimer.errors import Rejection
from latimer.report import header
from tests import requests
from tests.reading import ROUTE
from tests.strategies import JUNK, spoiled

EXCEPTIONS: dict[str, str] = {
    "context_management.edits.*.keep": "obeyed before translation; a loss tells of everything that was cleared",
    "tools.*.input_schema.$schema": "names the schema's own language; nothing of the values depends on it",
}
"""Values that may vanish without a word, each with its reason. `requests.CONTROL` are those that cannot have a mark."""
HIDDEN = ".defer_loading"
"""A loss there says that the whole tool is not shown yet."""

PROFILES = st.sampled_from(sorted(requests.PROFILES))
ENCODERS = {"chat": encode_chat, "responses": encode_responses}
GROWING = {"chat": ("messages", "tools"), "responses": ("input", "tools")}
"""The fields of a body that a conversation only adds to."""

each_dialect = pytest.mark.parametrize("dialect", ENCODERS)


def encode(body: Any, dialect: str, profile: str) -> Outgoing:
    request, _ = apply_edits(decode_request(requests.encoded(body)), lambda: 10**6, len)
    return ENCODERS[dialect](request, model="model", route=ROUTE, profile=requests.PROFILES[profile])


@each_dialect
@given(requests.requests(), PROFILES)
def test_no_silent_loss(dialect: str, body: dict[str, Any], profile: str) -> None:
    marks: dict[str, str] = {}
    planted = requests.plant(body, "", marks)
    try:
        outgoing = encode(planted, dialect, profile)
    except Rejection as rejection:
        assert rejection.failure.status == 400
        return
    json.loads(outgoing.body)
    told = [loss.field.removesuffix(HIDDEN) for loss in outgoing.losses] + list(EXCEPTIONS)
    missing = {path for mark, path in marks.items() if mark.encode() not in outgoing.body}
    assert not {path for path in missing if not any(requests.covers(field, path) for field in told)}
    assert len(header(outgoing.losses)) <= 4096


@each_dialect
@given(st.data(), requests.requests(), PROFILES)
def test_any_json_is_served_or_rejected(dialect: str, data: st.DataObject, body: dict[str, Any], profile: str) -> None:
    altered = data.draw(requests.altered(data.draw(requests.altered(body))))
    try:
        json.loads(encode(altered, dialect, profile).body)
    except Rejection as rejection:
        assert 400 <= rejection.failure.status < 500
        assert rejection.failure.message


@given(st.data(), requests.requests())
def test_any_bytes_are_served_or_rejected(data: st.DataObject, body: dict[str, Any]) -> None:
    raw = data.draw(spoiled(requests.encoded(body)) | JUNK)
    try:
        encode_chat(decode_request(raw), model="model", route=ROUTE, profile=requests.PROFILES["default"])
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


@pytest.mark.parametrize("profile", [name for name in requests.PROFILES if name not in ("marks", "loops")])
@each_dialect
@given(requests.conversations())
def test_prefix_stability(dialect: str, profile: str, turns: list[dict[str, Any]]) -> None:
    """`marks` sends the client's cache marks on, which move; `loops` takes reasoning back once its loop is over, since
    its provider wants that.
    """
    before: dict[str, list[bytes]] = {name: [] for name in GROWING[dialect]}
    for turn in turns:
        body = typed.decode(encode(turn, dialect, profile).body, type=dict[str, Raw])
        for name, known in before.items():
            now = [bytes(item) for item in typed.decode(body[name], type=list[Raw])]
            assert now[: len(known)] == known
            before[name] = now
