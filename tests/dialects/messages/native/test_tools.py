"""Tools for an upstream that takes some of what is said of them."""

from typing import Any

import pytest

from latimer.errors import Rejection
from latimer.profile import CacheRules, NativeRules, Profile, ToolRules

from .asking import ANTHROPIC, BASH, HELLO, MARK, body_of, everything_but, lost, native, sent, text

LATE = {**BASH, "name": "Late", "defer_loading": True}
SHELL = {"type": "bash_20250124", "name": "bash"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
FOUND = [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}]},
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "tool_reference", "tool_name": "Late"}],
            }
        ],
    },
]


def tools_of(tools: list[Any], profile: Profile = ANTHROPIC, **more: Any) -> Any:
    return body_of(HELLO | {"tools": tools} | more, profile).get("tools")


def test_members_that_are_taken() -> None:
    full = {
        **BASH,
        "type": "custom",
        "strict": True,
        "eager_input_streaming": True,
        "allowed_callers": ["direct"],
        "defer_loading": False,
        **MARK,
    }
    assert tools_of([full]) == [full]
    assert tools_of([full], Profile()) == [BASH]
    assert lost(sent(HELLO | {"tools": [full]}, Profile())) == {
        "tools.0.strict",
        "tools.0.eager_input_streaming",
        "tools.0.cache_control",
    }
    fireworks = Profile(cache=CacheRules(cache_control="pass"))
    assert tools_of([full], fireworks) == [BASH]


def test_examples_become_part_of_the_description() -> None:
    (tool,) = tools_of([{**BASH, "input_examples": [{"command": "ls"}]}], Profile())
    assert tool["description"] == 'Run a command.\n\nExamples: [{"command": "ls"}]'


def test_deferred_tools_come_when_they_are_found() -> None:
    assert tools_of([LATE, BASH]) == [LATE, BASH]
    assert tools_of([LATE, BASH], Profile()) == [BASH]
    found = {key: value for key, value in LATE.items() if key != "defer_loading"}
    assert tools_of([LATE, BASH], Profile(), messages=FOUND) == [BASH, found]
    assert "tools.0.defer_loading" in lost(sent(HELLO | {"tools": [LATE, BASH]}, Profile()))
    assert "tools" not in body_of(HELLO | {"tools": [LATE]}, Profile())


def test_a_tool_of_the_conversation() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**BASH, "name": "New"}}}
    messages = [*HELLO["messages"], {"role": "system", "content": [text("More."), added]}]
    assert tools_of([BASH], messages=messages) == [BASH]
    assert [tool["name"] for tool in tools_of([BASH], Profile(), messages=messages)] == ["Bash", "New"]


def test_anthropics_client_tools_as_plain_ones() -> None:
    assert tools_of([SHELL, BASH]) == [SHELL, BASH]
    shell, bash = tools_of([SHELL, BASH], Profile())
    assert (shell["name"], set(shell)) == ("bash", {"name", "description", "input_schema"})
    assert bash == BASH


def test_server_tools_need_a_provider_that_runs_them() -> None:
    assert tools_of([SEARCH]) == [SEARCH]
    with pytest.raises(Rejection):
        tools_of([SEARCH], Profile())


def test_schemas_in_the_form_that_is_taken() -> None:
    schema = {"$defs": {"a": {"type": "string"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
    tool = {"name": "T", "input_schema": schema}
    assert tools_of([tool], Profile()) == [tool]
    (inlined,) = tools_of([tool], Profile(tools=ToolRules(schema="inlined")))
    assert inlined["input_schema"]["properties"]["x"] == {"type": "string"}


def test_no_more_tools_than_are_taken() -> None:
    tools = [{**BASH, "name": f"mcp__x__{number}"} for number in range(5)]
    assert len(tools_of(tools, Profile(tools=ToolRules(max_count=3)))) == 3


@pytest.mark.parametrize(
    ("asked", "taken", "expected"),
    [
        ({"type": "any"}, {"auto", "required"}, {"type": "any"}),
        ({"type": "any"}, {"auto"}, {"type": "auto"}),
        ({"type": "tool", "name": "Bash"}, {"auto", "named"}, {"type": "tool", "name": "Bash"}),
        ({"type": "tool", "name": "Bash"}, {"auto", "required"}, {"type": "any"}),
        ({"type": "tool", "name": "Bash"}, {"auto"}, {"type": "auto"}),
        ({"type": "none"}, {"none"}, {"type": "none"}),
    ],
)
def test_choices(asked: dict[str, Any], taken: set[str], expected: dict[str, Any]) -> None:
    profile = Profile(tools=ToolRules(choices=frozenset(taken)))
    outgoing = sent(HELLO | {"tools": [BASH], "tool_choice": asked}, profile)
    assert body_of(HELLO | {"tools": [BASH], "tool_choice": asked}, profile)["tool_choice"] == expected
    assert ("tool_choice" in lost(outgoing)) == (asked != expected)


def test_choices_while_it_thinks() -> None:
    profile = Profile(tools=ToolRules(choices_when_thinking=frozenset({"auto"})))
    asked = HELLO | {"tools": [BASH], "tool_choice": {"type": "any"}}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert body_of(asked | {"thinking": {"type": "disabled"}}, profile)["tool_choice"] == {"type": "any"}
    assert body_of(asked | {"max_tokens": 9000, "thinking": thinking}, profile)["tool_choice"] == {"type": "auto"}


def test_one_call_where_that_can_be_asked() -> None:
    one = {"type": "auto", "disable_parallel_tool_use": True}
    asked = HELLO | {"tools": [BASH], "tool_choice": one}
    assert body_of(asked, Profile())["tool_choice"] == one
    assert body_of(asked, Profile(tools=ToolRules(parallel=False)))["tool_choice"] == {"type": "auto"}


def test_a_choice_without_tools_is_not_sent() -> None:
    asked = HELLO | {"tools": [LATE], "tool_choice": {"type": "auto"}}
    assert {"tools", "tool_choice"}.isdisjoint(body_of(asked, native()))
    assert body_of(asked, everything_but())["tool_choice"] == {"type": "auto"}
    assert NativeRules().deferred_tools is False
