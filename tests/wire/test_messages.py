"""The Messages wire types against the official SDK's: whatever the SDK can send, the parser knows."""

from typing import get_args

import pytest
from anthropic.types import MessageCreateParams
from anthropic.types.beta import MessageCreateParams as BetaParams
from msgspec import Raw, ValidationError, json
from msgspec.structs import fields

from latimer.wire import messages as wire

SDK_ONLY = {"stream"} | {"extra_headers", "extra_query", "extra_body", "timeout"}


def sdk_fields(params: object) -> set[str]:
    return {name for kind in get_args(params) for name in kind.__annotations__} | {
        name for kind in get_args(params) for base in kind.__mro__ for name in getattr(base, "__annotations__", {})
    }


@pytest.mark.parametrize("params", [MessageCreateParams, BetaParams], ids=["stable", "beta"])
def test_every_field_of_the_sdk_is_known(params: object) -> None:
    known = {field.encode_name for field in fields(wire.RequestBody)}
    assert len(sdk_fields(params)) > 10
    assert sdk_fields(params) - known - SDK_ONLY == set()


def test_an_absent_subtree_and_null_are_not_given() -> None:
    assert not wire.given(wire.TextBlock("x").cache_control)
    assert not wire.given(
        json.decode(b'{"type":"text","text":"x","cache_control":null}', type=wire.TextBlock).citations
    )
    assert wire.given(Raw(b"{}"))


def test_raw_subtrees_keep_their_bytes() -> None:
    raw = b'{"type":"tool_use","id":"a","name":"b","input":{"n": 1.50, "big":123456789012345678901234567890}}'
    block = json.decode(raw, type=wire.ToolUseBlock)
    assert bytes(block.input) == b'{"n": 1.50, "big":123456789012345678901234567890}'


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (b'{"type":"base64","media_type":"application/pdf","data":"x"}', wire.Base64Source),
        (b'{"type":"url","url":"https://example.invalid"}', wire.URLSource),
        (b'{"type":"file","file_id":"f"}', wire.FileSource),
        (b'{"type":"text","data":"x"}', wire.TextSource),
        (b'{"type":"content","content":"x"}', wire.ContentSource),
        (b'{"type":"content","content":[{"type":"text"}]}', wire.ContentSource),
    ],
)
def test_document_sources(source: bytes, kind: type) -> None:
    assert type(json.decode(source, type=wire.DocumentSource)) is kind


@pytest.mark.parametrize("body", [b"{}", b'{"model":"m","messages":[]}', b'{"model":"m","messages":{},"max_tokens":1}'])
def test_a_request_without_its_required_fields_is_none(body: bytes) -> None:
    with pytest.raises(ValidationError):
        json.decode(body, type=wire.RequestBody)


def test_counting_needs_no_max_tokens() -> None:
    assert json.decode(b'{"model":"m","messages":[]}', type=wire.CountBody).max_tokens == 1
