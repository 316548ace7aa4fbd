"""What becomes of server tools before a request is translated."""

from typing import Any

import pytest
from msgspec import json

from latimer.dialects.messages.request import Request, decode_request
from latimer.errors import Rejection
from latimer.server_tools.plan import Abilities, Plan, asks_server, prepare

SEARCH = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3, "response_inclusion": "full"}
FETCH = {"type": "web_fetch_20260318", "name": "web_fetch", "use_cache": False, "citations": {"enabled": True}}
FIND = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
BASH: dict[str, Any] = {"name": "Bash", "input_schema": {"type": "object"}}
ALL = Abilities("brave", True)


def planned(*tools: Any, abilities: Abilities = ALL, **fields: Any) -> tuple[Request, Plan | None]:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": list(tools)}
    return prepare(decode_request(json.encode({**body, **fields})), abilities)


def names(request: Request) -> list[str]:
    return [tool.name for tool in request.tools]


def test_a_request_without_server_tools_is_the_same_object() -> None:
    raw = json.encode({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": [BASH]})
    request = decode_request(raw)
    assert not asks_server(request)
    assert prepare(request, ALL) == (request, None)


def test_functions_in_place_of_server_tools() -> None:
    request, plan = planned(BASH, SEARCH, FETCH)
    assert plan is not None
    assert names(request) == ["Bash", "web_search", "web_fetch"]
    assert [tool.type for tool in request.tools] == [None, None, None]
    assert json.decode(request.tools[1].input_schema)["required"] == ["query"]
    assert plan.tools["web_search"].asked.max_uses == 3
    reports = {loss.field: loss.why for loss in request.losses}
    assert reports["tools.1"] == "run by Latimer with brave"
    assert reports["tools.2"] == "run by Latimer"
    assert "tools.2.citations" in reports
    assert not any("max_uses" in field for field in reports), "known fields are not reported as unknown"


def test_names_in_use_are_left_to_their_owners() -> None:
    use = {"type": "tool_use", "id": "u", "name": "web_search_on_server", "input": {}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [use]}]
    request, plan = planned({**BASH, "name": "web_search"}, SEARCH, messages=messages)
    assert plan is not None
    assert names(request) == ["web_search", "web_search_on_server_on_server"]


@pytest.mark.parametrize(
    ("abilities", "tools", "left", "alone"),
    [
        (Abilities(), [SEARCH], [], True),
        (Abilities(), [SEARCH, FETCH], [], True),
        (Abilities(), [SEARCH, BASH], ["Bash"], False),
        (Abilities("exa"), [SEARCH, FETCH], ["web_search"], False),
        (Abilities(fetch=True), [SEARCH, FETCH], ["web_fetch"], False),
    ],
)
def test_what_cannot_be_done_here(abilities: Abilities, tools: list[Any], left: list[str], alone: bool) -> None:
    request, plan = planned(*tools, abilities=abilities)
    assert plan is not None
    assert (names(request), plan.alone) == (left, alone)
    assert all(loss.action == "dropped" for loss in request.losses if "configured" in loss.why)


def test_a_choice_of_a_tool_that_is_gone() -> None:
    request, _ = planned(SEARCH, BASH, abilities=Abilities(), tool_choice={"type": "tool", "name": "web_search"})
    assert request.tool_choice is None
    request, _ = planned(SEARCH, BASH, tool_choice={"type": "tool", "name": "web_search"})
    assert request.tool_choice is not None
    assert request.tool_choice.name == "web_search"


def test_tool_search() -> None:
    late = [{**BASH, "name": f"t{n}", "defer_loading": True} for n in range(4)]
    few, plan = planned(FIND, BASH, *late)
    assert plan is not None
    assert not plan.tools
    assert names(few) == ["Bash", "t0", "t1", "t2", "t3"]
    assert not any(tool.defer_loading for tool in few.tools)
    many, plan = planned(FIND, BASH, *late, abilities=Abilities(most_tools=4))
    assert plan is not None
    assert list(plan.tools) == ["tool_search_tool_regex"]
    assert sum(bool(tool.defer_loading) for tool in many.tools) == 4


def test_too_many_tools() -> None:
    tools = [{**BASH, "name": name} for name in ("mcp__a", "Read", "mcp__b", "Bash", "mcp__c", "Write")]
    request, plan = planned(*tools, abilities=Abilities(most_tools=5))
    assert plan is not None
    assert [tool.name for tool in request.tools if not tool.defer_loading] == [
        "Read",
        "Bash",
        "Write",
        "tool_search_tool_bm25",
    ]
    assert "the provider takes 5: 3 of 6" in request.losses[-2].why
    request, plan = planned(*tools, abilities=Abilities(most_tools=6))
    assert plan is None
    assert len(names(request)) == 6


def test_deferred_tools_of_a_client_that_searches_itself_stay_deferred() -> None:
    request, _ = planned(SEARCH, {**BASH, "defer_loading": True})
    assert request.tools[1].defer_loading


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]},
        {"allowed_domains": ["https://a.example"]},
        {"blocked_domains": ["*.example"]},
        {"max_uses": "many"},
    ],
)
def test_contradictions_are_refused(fields: Any) -> None:
    with pytest.raises(Rejection) as caught:
        planned({**SEARCH, **fields})
    assert "tools.0" in caught.value.failure.message
