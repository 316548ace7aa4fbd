"""What is refused rather than served as something else, in the words that clients fall back on."""

import json
from typing import Any

import pytest

from latimer.dialects.messages.refusals import refuse_unservable
from latimer.dialects.messages.request import decode_request
from latimer.errors import Failure, Rejection

BODY: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def refuse(fields: dict[str, Any]) -> None:
    refuse_unservable(decode_request(json.dumps(BODY | fields).encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"fallbacks": "default"},
        {"fallbacks": []},
        {"fallback_credit_token": {"token": "t", "mode": "best_effort"}},
        {"mcp_servers": []},
        {"container": None},
        {"inference_geo": None},
        {"billing_policy": {"type": "billing_policy", "bill_to": "self"}},
        {"thread": None},
        {"compaction": None},
        {"tools": [{"name": "t", "type": "custom"}, {"name": "u", "type": None}]},
    ],
)
def test_what_can_be_served(fields: dict[str, Any]) -> None:
    refuse(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"compaction": {"type": "summarize"}},
        {"fallbacks": [{"model": "other"}]},
        {"fallback_credit_token": "t"},
        {"fallback_credit_token": {"token": "t", "mode": "strict"}},
        {"mcp_servers": [{"type": "url", "name": "s", "url": "https://example.invalid"}]},
        {"container": "c"},
        {"container": {"skills": []}},
        {"inference_geo": "eu"},
        {"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}},
        {"tools": [{"name": "c", "type": "code_execution_20260521"}]},
        {"tools": [{"name": ""}]},
    ],
)
def test_what_would_be_served_as_something_else_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(Rejection) as raised:
        refuse(fields)
    assert raised.value.failure.type == "invalid_request_error"
    assert raised.value.failure.message.startswith(next(iter(fields)))


def test_a_thread_is_refused_so_that_the_sdk_sends_the_whole_turn() -> None:
    with pytest.raises(Rejection) as raised:
        refuse({"thread": {"type": "create"}})
    assert raised.value.failure.details == {"error_code": "thread_unsupported_request", "unsupported": []}
    with pytest.raises(Rejection) as raised:
        refuse({"thread": {"type": "continue", "previous_message_id": "msg_7"}})
    assert raised.value.failure == Failure(
        "not_found_error", "thread: no thread continues from message 'msg_7'", {"error_code": "thread_not_found"}
    )
