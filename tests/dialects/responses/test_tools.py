"""Tools as the Responses API takes them. Which tools the model is shown is tested through Chat Completions."""

import pytest

from tests.dialects.chat.asking import Json, assistant, call, result, tool, user
from tests.dialects.chat.test_request import CLOSED
from tests.dialects.responses.asking import Asked, profile


def test_tools_are_flat_and_say_whether_they_are_strict() -> None:
    strict = {"name": "s", "input_schema": CLOSED, "strict": True, "description": "D."}
    asked = Asked(rules=profile(tools={"strict": True}), tools=[tool("A"), strict])
    assert asked.body["tools"] == [
        {"type": "function", "name": "A", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "s", "description": "D.", "parameters": CLOSED, "strict": True},
    ]


@pytest.mark.parametrize(
    ("choice", "rules", "sent"),
    [
        ({"type": "auto"}, {}, {"tool_choice": "auto"}),
        ({"type": "none"}, {}, {"tool_choice": "none"}),
        ({"type": "any"}, {}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "A"}, {}, {"tool_choice": {"type": "function", "name": "A"}}),
        ({"type": "any"}, {"choices": ["auto"]}, {"tool_choice": "auto"}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_choices_have_their_own_form(choice: Json, rules: Json, sent: Json) -> None:
    asked = Asked(rules=profile(tools=rules), tools=[tool("A")], tool_choice=choice)
    assert {key: asked.body[key] for key in ("tool_choice", "parallel_tool_calls") if key in asked.body} == sent
    assert ("tool_choice" in asked.lost) == (rules != {})


def test_a_choice_among_no_tools_is_dropped_with_them() -> None:
    asked = Asked(tools=[tool("B", defer_loading=True)], tool_choice={"type": "any"})
    assert not {"tools", "tool_choice"} & asked.body.keys()
    assert "tool_choice" in asked.lost


@pytest.mark.parametrize(("thinking", "sent"), [("disabled", "required"), ("adaptive", "auto")])
def test_a_model_may_take_fewer_choices_while_it_thinks(thinking: str, sent: str) -> None:
    rules = profile(tools={"choices_when_thinking": ["auto"]}, reasoning={"efforts": {"none": "none"}})
    given = {"thinking": {"type": thinking, "display": "omitted"}, "tool_choice": {"type": "any"}}
    asked = Asked(rules=rules, tools=[tool("A")], max_tokens=32000, **given)
    assert asked.body["tool_choice"] == sent
    assert ("tool_choice" in asked.lost) == (sent == "auto")


def test_a_tool_stands_in_where_a_history_with_calls_needs_one() -> None:
    rules = profile(tools={"needed_by_history": True})
    asked = Asked("go", assistant(call("toolu_A")), user(result("toolu_A")), rules=rules)
    assert [entry["name"] for entry in asked.body["tools"]] == ["no_tools"]
    assert asked.body["tool_choice"] == "none"
    assert asked.lost == {"tools"}
