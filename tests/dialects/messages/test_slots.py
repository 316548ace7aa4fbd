"""The API's own places for reports: there when they are asked for, and only then."""

import json
from typing import Any

import pytest

from latimer.dialects.messages.request import decode_request
from latimer.dialects.messages.slots import (
    BINDING_BETA,
    COUNT_BETA,
    FOREIGN_REASONING,
    Slots,
    native_slots,
)
from latimer.report import Loss

PLAIN = {"model": "claude", "max_tokens": 2048, "messages": [{"role": "user", "content": "hi"}]}


def slots(fields: dict[str, Any], betas: frozenset[str] = frozenset(), losses: tuple[Loss, ...] = ()) -> Slots:
    return native_slots(decode_request(json.dumps(PLAIN | fields).encode(), betas=betas), losses)


def test_who_asks_for_nothing_gets_nothing() -> None:
    assert slots({}) == Slots()
    assert slots({}, frozenset({"next-year-2027-01-01"})) == Slots()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"previous_message_id": None}, None),
        ({}, None),
        ({"previous_message_id": "msg_0"}, {"cache_miss_reason": {"type": "unavailable"}}),
    ],
)
def test_diagnostics(asked: Any, answer: Any) -> None:
    assert slots({"diagnostics": asked}).message == {"diagnostics": answer}


def test_edits_of_the_context() -> None:
    assert slots({"context_management": {"edits": []}}).ending == {"context_management": {"applied_edits": []}}


def test_thinking_that_was_left_out() -> None:
    losses = (Loss("messages.1.content.0", "dropped", FOREIGN_REASONING), Loss("top_k", "dropped", "other"))
    (entry,) = slots({}, frozenset({BINDING_BETA}), losses).message["input_transformations"]
    assert entry == {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "model_binding_mismatch"}
    assert slots({}, frozenset({BINDING_BETA})).message == {"input_transformations": []}
    assert slots({}, losses=losses).message == {}


def test_a_token_of_credit() -> None:
    token = {"fallback_credit_token": {"token": "t", "mode": "best_effort"}}
    assert slots(token).usage == {"fallback_credit": {"status": {"type": "not_applied", "reason": "not_enabled"}}}


def test_counts_and_speed() -> None:
    assert slots({}, frozenset({COUNT_BETA})).counts_thinking
    assert slots({"speed": "standard"}).speed
