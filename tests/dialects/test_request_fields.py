"""The top level that OpenAI's two APIs share. Most of it is tested through Chat Completions, and by the laws."""

from typing import Any

import pytest

from latimer.dialects.context import Context
from latimer.dialects.request_fields import begin, mark_end, output_limit, tier, without_dropped
from latimer.errors import Rejection
from tests.dialects.chat.asking import ROUTE, Json, parsed, profile, tool


def context(**rules: Json) -> Context:
    return Context(ROUTE, profile(**rules), {}, [])


def lost(shared: Context) -> list[tuple[str, str]]:
    return [(loss.field, loss.action) for loss in shared.losses]


def test_a_request_begins_with_what_it_has_lost_and_the_tools_it_has() -> None:
    request = parsed(tools=[tool("A")], next_year=1)
    begun = begin(request, ROUTE, profile(), None)
    assert begun.losses == request.losses != []
    assert begun.losses is not request.losses
    assert list(begun.tools) == ["A"]
    with pytest.raises(Rejection, match="inference_geo"):
        begin(parsed(inference_geo="eu"), ROUTE, profile(), None)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], [("cache_control", "dropped")]),
        ([({"content": [{"a": 1}, {"b": 2}]}, "content")], [("cache_control", "emulated")]),
    ],
)
def test_the_end_is_marked_where_something_can_carry_it(places: list[Any], expected: list[Any]) -> None:
    shared = context(cache={"cache_control": "pass"})
    mark_end(parsed(cache_control={"type": "ephemeral"}), places, shared)
    assert lost(shared) == expected
    for message, field in places:
        assert ["cache_control" in part for part in message[field]] == [False, True]


@pytest.mark.parametrize(
    ("rules", "estimate", "limit"),
    [({}, 0, 1000), ({"max_output": 900}, 0, 900), ({"context_window": 1000}, 800, 256)],
)
def test_the_answer_fits(rules: Json, estimate: int, limit: int) -> None:
    shared = context(request=rules)
    assert output_limit(parsed(max_tokens=1000), shared, estimate) == limit
    assert bool(shared.losses) == (limit < 1000)


@pytest.mark.parametrize(
    ("given", "known", "sent", "expected"),
    [
        ({}, True, {}, []),
        ({"service_tier": "standard_only"}, True, {"service_tier": "default"}, []),
        ({"speed": "fast"}, True, {"service_tier": "priority"}, []),
        ({"speed": "fast", "service_tier": "standard_only"}, True, {"service_tier": "priority"}, ["service_tier"]),
        ({"speed": "fast", "service_tier": "standard_only"}, False, {}, ["speed", "service_tier"]),
    ],
)
def test_speed_counts_more_than_the_tier(given: Json, known: bool, sent: Json, expected: list[str]) -> None:
    shared = context(request={"service_tier": known})
    assert tier(parsed(**given), shared) == sent
    assert [field for field, _ in lost(shared)] == expected


def test_what_is_not_taken_is_told_in_the_clients_words() -> None:
    shared = context(request={"drop": ["ours", "theirs", "same", "unsent"], "extra_body": {"more": 1}})
    fields: Json = {"ours": 1, "theirs": 2, "same": 3, "kept": 4}
    assert without_dropped(fields, parsed(), shared, {"theirs": "client.theirs"}, frozenset({"ours"})) == {
        "kept": 4,
        "more": 1,
    }
    assert lost(shared) == [("same", "dropped"), ("client.theirs", "dropped")]
