"""Admission: unknown fields are left out and told, wrong types are named by their path."""

import json

import pytest
from msgspec import Raw

from latimer.dialects.messages.admit import BLOCK_TYPES, UNKNOWN_FIELD, admit, admit_block, block_type
from latimer.errors import Rejection
from latimer.report import Loss
from latimer.wire import messages as wire


def told(*fields: str) -> list[Loss]:
    return [Loss(field, "dropped", UNKNOWN_FIELD) for field in fields]


def test_what_is_known_loses_nothing() -> None:
    losses: list[Loss] = []
    assert admit(b'{"type":"enabled","budget_tokens":5}', wire.Thinking, "thinking", losses).budget_tokens == 5
    assert losses == []


@pytest.mark.parametrize(
    ("raw", "kind", "lost"),
    [
        (b'{"user_id":"u","new":1}', wire.Metadata, ["at.new"]),
        (b'{"new":{"deep":[1]},"user_id":"u","x":null}', wire.Metadata, ["at.new", "at.x"]),
        (b'{"effort":"low","format":{"type":"json_schema","schema":{},"new":1}}', wire.OutputConfig, ["at.format.new"]),
        (b'{"type":"auto","a.b":1,"":2}', wire.ToolChoice, ["at.a.b", "at."]),
        (b'{"type":"adaptive","\\u006eew":1}', wire.Thinking, ["at.new"]),
    ],
)
def test_unknown_fields_are_left_out_at_any_depth(raw: bytes, kind: type, lost: list[str]) -> None:
    losses: list[Loss] = []
    admit(raw, kind, "at", losses)
    assert losses == told(*lost)


def test_at_the_top_a_path_has_no_prefix() -> None:
    losses: list[Loss] = []
    admit(b'{"new":1}', wire.Metadata, "", losses)
    assert losses == told("new")


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b'{"user_id":5}', wire.Metadata, "at.user_id: Expected `str | null`, got `int`"),
        (b'{"user_id":5,"new":1}', wire.Metadata, "at.user_id: Expected `str | null`, got `int`"),
        (b'{"format":{"schema":{},"type":"xml"}}', wire.OutputConfig, "at.format.type: Invalid enum value 'xml'"),
        (b"[]", wire.Metadata, "at: Expected `object`, got `array`"),
        (b"{", wire.Metadata, "at: not valid JSON"),
        (b'{"user_id":5,', wire.Metadata, "at: not valid JSON"),
        (b'{"user_id":"\xff"}', wire.Metadata, "at: not valid JSON"),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, kind: type, message: str) -> None:
    with pytest.raises(Rejection) as raised:
        admit(raw, kind, "at", [])
    assert raised.value.failure.status == 400
    assert raised.value.failure.message.startswith(message)


def test_a_known_block_with_a_new_field() -> None:
    losses: list[Loss] = []
    raw = b'{"new":1,"type":"image","source":{"type":"url","url":"u","new":2}}'
    assert admit_block(raw, "b", losses) == wire.ImageBlock(wire.URLSource("u"))
    assert losses == told("b.new", "b.source.new")


def test_an_unknown_block_is_kept_as_it_is() -> None:
    raw = b'{"type":"of_2028","x":1}'
    block = admit_block(raw, "b", [])
    assert isinstance(block, wire.UnknownBlock)
    assert block.raw == raw
    assert block.type == block_type(raw) == "of_2028"


@pytest.mark.parametrize(
    "raw",
    [
        *(b"{}", b"5", b'"tool_reference"', b'{"type":[]}', b'{"type":""}', b"null", b"[]", b"[[]]"),
        *(b'{"type":"of_2028","x":1e400}', b'{"type":"of_2028","x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ],
)
def test_what_is_no_block_is_rejected(raw: bytes) -> None:
    with pytest.raises(Rejection) as raised:
        admit_block(raw, "messages.0.content.1", [])
    assert raised.value.failure.status == 400
    assert raised.value.failure.message.startswith("messages.0.content.1: ")


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_a_known_block_without_its_fields_is_rejected(kind: str) -> None:
    with pytest.raises(Rejection, match=r"^b: Object missing required field"):
        admit_block(json.dumps({"type": kind}).encode(), "b", [])


def test_raw_parts_are_admitted_as_well() -> None:
    assert admit_block(Raw(b'{"type":"text","text":"x"}'), "b", []) == wire.TextBlock("x")
