"""The client's own check of a tool call is known by its form."""

import json
from typing import Any

import pytest

from latimer.auto_mode.own_check import as_check, is_own_check
from latimer.dialects.messages.request import Request, decode_request

CONTENT = [{"type": "text", "text": "<transcript>\n"}, {"type": "text", "text": '{"user":"hi"}\n'}]


def check(**fields: Any) -> Request:
    body = {
        "model": "claude-sonnet-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": CONTENT}],
        "thinking": {"type": "disabled"},
        **fields,
    }
    return decode_request(json.dumps(body).encode())


def test_it_is_known() -> None:
    assert is_own_check(check())
    assert is_own_check(check(thinking=None, max_tokens=2112, stop_sequences=["</block>"]))


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"tools": [{"name": "Bash", "input_schema": {"type": "object"}}]},
        {"messages": [{"role": "user", "content": "<transcript>\n hello"}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": CONTENT}, {"role": "user", "content": "more"}]},
    ],
)
def test_nothing_else_is_taken_for_it(fields: dict[str, Any]) -> None:
    assert not is_own_check(check(**fields))


def test_thinking_is_switched_off() -> None:
    asked = as_check(check(thinking=None), "")
    assert asked.thinking is not None
    assert asked.thinking.type == "disabled"
    assert [loss.field for loss in asked.losses] == ["thinking"]
    assert as_check(check(), "") == check()


def test_the_classifier_answers_it() -> None:
    asked = as_check(check(), "p/small")
    assert asked.body.model == "p/small"
    assert [loss.field for loss in asked.losses] == ["model"]
