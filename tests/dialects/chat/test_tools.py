"""Tools: schemas that every server takes, and which tools the model is shown."""

from typing import Any

import pytest

from latimer.errors import Rejection
from tests.dialects.chat.asking import Asked, Json, assistant, call, profile, result, system, tool, user

LATER: Json = {"defer_loading": True}


def names(asked: Asked) -> list[str]:
    return [entry["function"]["name"] for entry in asked.body.get("tools", [])]


def found(*tools: str) -> Json:
    return user(result("toolu_A", [{"type": "tool_reference", "tool_name": name} for name in tools]))


def change(kind: str, name: str) -> Json:
    return system({"type": kind, "tool": {"type": "tool_reference", "name": name}})


BARE: Json = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({}, BARE),
        ({"type": "object"}, BARE),
        ({"$schema": "x", **BARE}, BARE),
        ({**BARE, "properties": {"$id": {"$id": "y"}}}, {**BARE, "properties": {"$id": {}}}),
        ({**BARE, "properties": {"properties": {"$schema": "x"}}}, {**BARE, "properties": {"properties": {}}}),
        ({**BARE, "$defs": {"$id": {"$id": "x", "enum": [1]}}}, {**BARE, "$defs": {"$id": {"enum": [1]}}}),
        ({"anyOf": [{"$schema": "x"}]}, {"anyOf": [{}], **BARE}),
    ],
)
def test_schemas_are_objects_without_what_the_provider_refuses(schema: Json, sent: Json) -> None:
    asked = Asked(tools=[{"name": "t", "input_schema": schema}])
    assert asked.body["tools"][0]["function"]["parameters"] == sent


def test_a_schema_that_needs_nothing_is_sent_as_it_came() -> None:
    assert b'"maximum":1e+22' in Asked(tools=[{"name": "t", "input_schema": {**BARE, "maximum": 1e22}}]).raw


def test_a_dropped_keyword_that_meant_something_is_reported_once_for_a_tool() -> None:
    rules = profile(tools={"drop_keywords": ["$schema", "exclusiveMinimum", "pattern"]})
    schema = {"$schema": "x", "properties": {"a": {"exclusiveMinimum": 0, "pattern": "^a"}, "b": {"pattern": "b"}}}
    asked = Asked(rules=rules, tools=[{"name": "t", "input_schema": schema}])
    assert [(loss.field, "exclusiveMinimum" in loss.why, "$schema" in loss.why) for loss in asked.losses] == [
        ("tools.0.input_schema", True, False)
    ]


@pytest.mark.parametrize("schema", [[], "x", None, 1])
def test_a_schema_must_be_an_object(schema: Any) -> None:
    with pytest.raises(Rejection, match="input_schema must be an object"):
        Asked(tools=[{"name": "t", "input_schema": schema}])


def searched(**content: Any) -> Json:
    return assistant({"type": "tool_search_tool_result", "tool_use_id": "s", "content": content})


SEARCH = assistant(call("toolu_A"))
Z_FOUND = searched(tool_references=[{"type": "tool_reference", "tool_name": "Z"}])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["go"], ["A"]),
        (["go", SEARCH, found("Z", "B"), SEARCH, found("B", "Z")], ["A", "Z", "B"]),
        (["go", assistant(call("toolu_A", "B")), user(result("toolu_A"))], ["A", "B"]),
        (["go", change("tool_addition", "B")], ["A", "B"]),
        (["go", change("tool_removal", "A")], []),
        (["go", change("tool_removal", "A"), "on", change("tool_addition", "A")], ["A"]),
        (["go", change("tool_addition", "B"), "on", change("tool_removal", "B")], ["A"]),
        (["go", Z_FOUND, "on"], ["A", "Z"]),
        (["go", searched(error_code="unavailable"), "on"], ["A"]),
    ],
)
def test_tools_are_shown_when_they_have_been_brought_in(said: list[Any], shown: list[str]) -> None:
    tools = [tool("A"), tool("B", **LATER), tool("Z", **LATER)]
    assert names(Asked(*said, tools=tools)) == shown
    assert names(Asked(*said, tools=[tools[1], tools[2], tools[0]])) == shown, "wherever the client inserts them"


def test_a_tool_defined_in_conversation_is_known_to_references() -> None:
    defined = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool("N", later=1)}}
    asked = Asked("go", system(defined), assistant(call("toolu_A")), found("N"), tools=[tool("A")])
    assert names(asked) == ["A", "N"]
    assert '"name":"N"' in asked.messages[2]["content"]
    assert "messages.1.content.0.tool.definition.later" in asked.lost
    served = {
        "type": "tool_addition",
        "tool": {"type": "tool_definition", "definition": {"type": "web_search_20250305"}},
    }
    assert names(Asked("go", system(served), tools=[tool("A")])) == ["A"]


def test_two_tools_of_one_name_are_one() -> None:
    assert names(Asked(tools=[tool("A"), tool("B"), tool("A")])) == ["A", "B"]


@pytest.mark.parametrize(
    ("choice", "rules", "sent", "reported"),
    [
        (None, {}, None, False),
        ({"type": "auto"}, {}, "auto", False),
        ({"type": "none"}, {}, "none", False),
        ({"type": "any"}, {}, "required", False),
        ({"type": "any"}, {"required_word": "any"}, "any", False),
        ({"type": "tool", "name": "A"}, {}, {"type": "function", "function": {"name": "A"}}, False),
        ({"type": "any"}, {"choices": ["auto"]}, "auto", True),
        ({"type": "tool", "name": "A"}, {"choices": ["auto", "required"]}, "required", True),
        ({"type": "tool", "name": "A"}, {"choices": ["auto", "none"]}, "auto", True),
    ],
)
def test_tool_choice_in_the_providers_words(choice: Json | None, rules: Json, sent: Any, reported: bool) -> None:
    asked = Asked(rules=profile(tools=rules), tools=[tool("A")], **({"tool_choice": choice} if choice else {}))
    assert asked.body.get("tool_choice") == sent
    assert ("tool_choice" in asked.lost) == reported


def test_no_tools_are_shown_where_none_cannot_be_said() -> None:
    asked = Asked(rules=profile(tools={"choices": ["auto"]}), tools=[tool("A")], tool_choice={"type": "none"})
    assert not {"tools", "tool_choice"} & asked.body.keys()
    assert asked.lost == {"tools"}


@pytest.mark.parametrize(("parallel", "sent"), [(True, False), (False, None)])
def test_at_most_one_call_is_asked_for_where_it_can_be(parallel: bool, sent: bool | None) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    asked = Asked(rules=profile(tools={"parallel": parallel}), tools=[tool("A")], tool_choice=choice)
    assert asked.body.get("parallel_tool_calls") is sent
    assert ("tool_choice.disable_parallel_tool_use" in asked.lost) == (sent is None)


def test_a_forced_tool_must_be_one_the_model_can_call() -> None:
    code = tool("C", allowed_callers=["code_execution_20260120"])
    assert names(Asked(tools=[tool("A"), code])) == ["A"]
    with pytest.raises(Rejection, match="cannot be called directly"):
        Asked(tools=[tool("A"), code], tool_choice={"type": "tool", "name": "C"})


@pytest.mark.parametrize("kind", ["any", "auto"])
def test_a_choice_among_no_tools_is_dropped_with_them(kind: str) -> None:
    asked = Asked(tools=[tool("B", **LATER)], tool_choice={"type": kind})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & asked.body.keys()
    assert "tool_choice" in asked.lost


CLOSED: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("allowed", "schema", "sent", "why"),
    [
        (True, CLOSED, True, None),
        (False, CLOSED, None, "schemas are sent as guidance, not enforced"),
        (True, {"type": "object"}, None, "strict mode would refuse the schema"),
    ],
)
def test_a_strict_tool_is_sent_so_where_it_can_be(allowed: bool, schema: Json, sent: Any, why: str | None) -> None:
    given = {"name": "t", "input_schema": schema, "strict": True}
    asked = Asked(rules=profile(tools={"strict": allowed}), tools=[given])
    assert asked.body["tools"][0]["function"].get("strict") is sent
    assert [loss.why for loss in asked.losses if loss.field == "tools.0.strict"] == ([why] if why else [])


MANY = [tool(name) for name in ("mcp__a__1", "Bash", "mcp__a__2", "Own", "mcp__b__1")]


@pytest.mark.parametrize(
    ("said", "limit", "shown"),
    [
        (["go"], 5, ["mcp__a__1", "Bash", "mcp__a__2", "Own", "mcp__b__1"]),
        (["go"], 0, ["mcp__a__1", "Bash", "mcp__a__2", "Own", "mcp__b__1"]),
        (["go"], 3, ["mcp__a__1", "Bash", "Own"]),
        (["go"], 1, ["Bash"]),
        (["go", assistant(call("toolu_A", "mcp__b__1")), user(result("toolu_A"))], 2, ["Bash", "mcp__b__1"]),
    ],
)
def test_no_more_tools_than_the_provider_takes(said: list[Any], limit: int, shown: list[str]) -> None:
    asked = Asked(*said, rules=profile(tools={"max_count": limit}), tools=MANY)
    assert names(asked) == shown
    dropped = [entry["name"] for entry in MANY if entry["name"] not in shown]
    told = [loss.why for loss in asked.losses if loss.field == "tools"]
    assert told == ([f"the provider takes at most {limit}; without {', '.join(dropped)}"] if dropped else [])


def test_a_forced_tool_is_never_left_out() -> None:
    choice = {"type": "tool", "name": "mcp__b__1"}
    asked = Asked(rules=profile(tools={"max_count": 2}), tools=MANY, tool_choice=choice)
    assert names(asked) == ["Bash", "mcp__b__1"]


def test_schemas_are_in_the_providers_own_dialect() -> None:
    schema = {"type": "object", "properties": {"a": {"const": "x"}}}
    asked = Asked(rules=profile(tools={"schema": "gemini"}), tools=[{"name": "t", "input_schema": schema}])
    assert asked.body["tools"][0]["function"]["parameters"]["properties"]["a"] == {"enum": ["x"], "type": "string"}


def test_a_toolset_is_as_many_functions_as_it_has_members() -> None:
    key = {**call("toolu_A", "key"), "toolset_name": "computer"}
    toolset = {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}}}
    asked = Asked("go", assistant(key), user(result("toolu_A", toolset_name="computer")), tools=[toolset])
    assert len(names(asked)) == 16
    assert asked.messages[1]["tool_calls"][0]["function"]["name"] == "computer__key" in names(asked)


@pytest.mark.parametrize("reference", ["browser", "browser__find"])
def test_a_deferred_toolset_is_loaded_as_a_whole_or_by_its_members(reference: str) -> None:
    toolset = {"type": "browser_toolset_20260801", "configs": {"find": LATER, "navigate": LATER, "type": LATER}}
    before = names(Asked("go", tools=[toolset]))
    after = names(Asked("go", assistant(call("toolu_A")), found(reference), tools=[toolset]))
    late = ["browser__navigate", "browser__find", "browser__type"] if reference == "browser" else ["browser__find"]
    assert after == before + late


def test_a_toolset_may_come_with_the_conversation() -> None:
    added = {
        "type": "tool_addition",
        "tool": {"type": "tool_definition", "definition": {"type": "computer_toolset_20260801"}},
    }
    asked = Asked("go", system(added), tools=[tool("A")])
    assert len(names(asked)) == 18
    assert "computer__zoom" in asked.request.members


def test_what_a_tool_loses_is_reported() -> None:
    given = tool("A", strict=True, input_examples=[{"a": 1}], cache_control={"type": "ephemeral"}, description="D.")
    asked = Asked(tools=[given])
    assert asked.body["tools"][0]["function"]["description"] == 'D.\n\nExamples: [{"a":1}]'
    assert asked.lost == {"tools.0.strict", "tools.0.input_examples", "tools.0.cache_control"}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"thinking": {"type": "disabled"}}, {"type": "function", "function": {"name": "Bash"}}),
        ({"thinking": {"type": "adaptive"}}, "auto"),
        ({}, "auto"),
    ],
)
def test_a_choice_that_is_taken_only_without_thinking(fields: Json, sent: Any) -> None:
    rules = profile(
        tools={"choices_when_thinking": ["auto", "none"]},
        reasoning={"control": "thinking_type", "efforts": {"none": ""}},
    )
    asked = Asked(
        "hi", rules=rules, tools=[tool()], tool_choice={"type": "tool", "name": "Bash"}, max_tokens=4096, **fields
    )
    assert asked.body["tool_choice"] == sent
    assert ("tool_choice" in asked.lost) is (sent == "auto")


def test_fields_that_go_with_tools_only() -> None:
    rules = profile(tools={"extra_body": {"tool_stream": True}})
    assert Asked("hi", rules=rules, tools=[tool()]).body["tool_stream"] is True
    assert "tool_stream" not in Asked("hi", rules=rules).body


def test_a_history_with_calls_may_need_a_tool() -> None:
    rules = profile(tools={"needed_by_history": True})
    history = ("go", assistant(call("toolu_A")), user(result("toolu_A")))
    asked = Asked(*history, rules=rules)
    assert [each["function"]["name"] for each in asked.body["tools"]] == ["no_tools"]
    assert "tools" in asked.lost
    assert "tools" not in Asked(*history).body
    assert "tools" not in Asked("hi", rules=rules).body
    assert [each["function"]["name"] for each in Asked(*history, rules=rules, tools=[tool()]).body["tools"]] == ["Bash"]
