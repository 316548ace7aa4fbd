"""Anthropic's client tools as functions, held against the official SDK's own types."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import anthropic.types as sdk
import jsonschema
import pytest
from anthropic.types import beta as sdk_beta
from msgspec import Raw

from latimer.dialects.client_tool_data import COMPUTER_MEMBERS, MEMORY, TOOLS, TOOLSETS, Function
from latimer.dialects.client_tools import function_name, is_client_tool
from latimer.dialects.messages.request import decode_request, decode_tool
from latimer.dialects.schemas import shape
from latimer.errors import Rejection
from latimer.events import Member
from latimer.profile import SchemaDialect
from latimer.report import Loss
from latimer.wire import messages as wire
from tests.dialects.chat.asking import Json, parsed, tool

MODELS = {
    "computer_toolset_20260801": ("Computer", sdk.ComputerMemberName),
    "browser_toolset_20260801": ("Browser", sdk.BrowserMemberName),
}
SERVERS_OWN = ("code_execution_", "advisor_", "mcp_toolset")
"""Tools that need Anthropic's servers, or a client of another kind."""
OFF = {"read_console", "read_network", "javascript_exec", "file_upload"}


def published(entry: Json, losses: list[Loss] | None = None) -> dict[str, Json]:
    """The functions that stand for an entry of `tools`, as a model sees them."""
    made = decode_tool(Raw(json.dumps(entry).encode()), "tools.0", [] if losses is None else losses)
    return {
        one.name: {"description": one.description, "parameters": json.loads(bytes(one.input_schema))}
        for one in made.tools
    }


def properties(name: str, schema: Json) -> Iterator[tuple[str, str]]:
    """Each argument with its bare type: no words, no bounds, no null for what may be left out."""
    for key, value in schema.get("properties", {}).items():
        yield f"{name}.{key}", json.dumps(bare(value, schema.get("$defs", {})), sort_keys=True)


def bare(schema: Any, definitions: Json) -> Any:
    if "$ref" in schema:
        return bare(definitions[schema["$ref"].split("/")[-1]], definitions)
    if "anyOf" in schema:
        branches = [bare(one, definitions) for one in schema["anyOf"] if one != {"type": "null"}]
        return branches[0] if len(branches) == 1 else {"anyOf": branches}
    kept: Json = {"type": schema["type"]}
    if "const" in schema or "enum" in schema:
        kept["enum"] = schema.get("enum", [schema.get("const")])
    if "items" in schema:
        kept["items"] = bare(schema["items"], definitions)
    if "properties" in schema:
        kept["properties"] = {key: bare(value, definitions) for key, value in schema["properties"].items()}
        kept["required"] = sorted(schema.get("required", ()))
    return kept


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_toolsets_members_are_those_of_the_sdk(kind: str) -> None:
    prefix, names = MODELS[kind]
    family, members = TOOLSETS[kind]
    assert list(members) == list(get_args(names))
    assert family == prefix.lower()
    for name, function in members.items():
        model = getattr(sdk, f"{prefix}{name.title().replace('_', '')}Input")
        theirs, ours = model.model_json_schema(), function.schema()
        assert dict(properties(name, ours)) == dict(properties(name, theirs))
        assert sorted(ours.get("required", ())) == sorted(theirs.get("required", ()))
        assert function.description.endswith(".")


def test_the_memory_tools_commands_are_those_of_the_sdk() -> None:
    commands = ["View", "Create", "StrReplace", "Insert", "Delete", "Rename"]
    models = [getattr(sdk_beta, f"BetaMemoryTool20250818{command}Command") for command in commands]
    theirs: dict[str, str] = {}
    for model in models:
        theirs |= dict(properties("memory", model.model_json_schema()))
    ours = dict(properties("memory", MEMORY.schema()))
    assert {key: value for key, value in ours.items() if key != "memory.command"} == {
        key: value for key, value in theirs.items() if key != "memory.command"
    }
    words = [model.model_json_schema()["properties"]["command"]["const"] for model in models]
    assert MEMORY.required["command"]["enum"] == words


def sdk_types() -> Iterator[tuple[str, str]]:
    """The type and name of every tool that the SDK knows."""
    for union in (sdk.ToolUnionParam, sdk_beta.BetaToolUnionParam):
        for params in get_args(union):
            fields = params.__annotations__
            for kind in re.findall(r"Literal\['(\w+)'\]", str(fields["type"])):
                yield kind, str(fields.get("name", ""))


def test_every_tool_of_the_sdk_is_known_for_what_it_is() -> None:
    known = {kind for kind, _ in sdk_types() if kind != "custom"}
    assert len(known) > 20
    others = {kind for kind in known if not is_client_tool(kind)}
    assert {kind for kind in known if is_client_tool(kind)} == TOOLS.keys() | TOOLSETS.keys()
    assert all(kind.startswith((*wire.SERVER_TOOLS, *SERVERS_OWN)) for kind in others)
    names = dict(sdk_types())
    assert all(default in names[kind] for kind, (default, _) in TOOLS.items())


@pytest.mark.parametrize("dialect", ["openai", "gemini", "mfjs", "grammar", "inlined"])
def test_every_function_is_a_schema_that_any_provider_takes(dialect: SchemaDialect) -> None:
    functions: list[Function] = [function for _, function in TOOLS.values()]
    functions += [function for _, members in TOOLSETS.values() for function in members.values()]
    for function in functions:
        jsonschema.Draft202012Validator.check_schema(function.schema())
        assert not shape(json.dumps(function.schema()).encode(), dialect).lost


def test_bash() -> None:
    sent = published({"type": "bash_20250124", "name": "bash"})
    assert sent.keys() == {"bash"}
    assert sent["bash"]["parameters"]["properties"].keys() == {"command", "restart"}


@pytest.mark.parametrize(
    ("kind", "name", "insert", "undo"),
    [
        ("text_editor_20241022", "str_replace_editor", "new_str", True),
        ("text_editor_20250124", "str_replace_editor", "new_str", True),
        ("text_editor_20250429", "str_replace_based_edit_tool", "insert_text", False),
        ("text_editor_20250728", "str_replace_based_edit_tool", "insert_text", False),
    ],
)
def test_editors(kind: str, name: str, insert: str, undo: bool) -> None:
    (function,) = published({"type": kind, "name": name}).values()
    arguments = function["parameters"]["properties"]
    assert "insert" in arguments[insert]["description"]
    assert ("undo_edit" in arguments["command"]["enum"]) is undo
    assert ("undo_edit" in function["description"]) is undo


def test_what_a_tool_is_told_about_itself_is_in_its_description() -> None:
    size = {"display_width_px": 1024, "display_height_px": 768, "display_number": 1}
    (screen,) = published({"type": "computer_20251124", "name": "computer", "enable_zoom": True, **size}).values()
    assert "1024 pixels wide and 768 high" in screen["description"]
    assert ":1." in screen["description"]
    assert "region" in screen["parameters"]["properties"]
    (near,) = published({"type": "computer_20251124", "name": "computer", **size}).values()
    assert "zoom" not in str(near)
    (old,) = published({"type": "computer_20241022", "name": "computer", **size}).values()
    assert "scroll" not in str(old)
    editor = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 10000}
    assert "10000 characters" in str(published(editor))


def test_fields_of_every_tool_stay() -> None:
    entry = {
        "type": "bash_20250124",
        "name": "bash",
        "cache_control": {"type": "ephemeral"},
        "defer_loading": True,
        "strict": True,
        "allowed_callers": ["direct"],
        "input_examples": [{"command": "ls"}],
    }
    (made,) = decode_tool(Raw(json.dumps(entry).encode()), "tools.0", []).tools
    assert (made.type, made.defer_loading, made.strict, made.allowed_callers) == (None, True, True, ["direct"])
    assert wire.given(made.cache_control)
    assert wire.given(made.input_examples)


@pytest.mark.parametrize(
    ("entry", "lost"),
    [
        ({"type": "bash_20250124", "name": "bash", "max_characters": 5}, {"tools.0.max_characters"}),
        ({"type": "bash_20250124", "name": "bash", "new": 5}, {"tools.0.new"}),
        ({"type": "computer_toolset_20260801", "cache_control": {"type": "ephemeral"}}, {"tools.0.cache_control"}),
        ({"type": "computer_toolset_20260801", "configs": {"fly": {"enabled": True}}}, {"tools.0.configs.fly"}),
        ({"type": "computer_toolset_20260801", "configs": {"key": {"new": 1}}}, {"tools.0.configs.key.new"}),
        ({"type": "computer_toolset_20260801", "configs": None}, set()),
    ],
)
def test_what_cannot_be_carried_is_reported(entry: Json, lost: set[str]) -> None:
    losses: list[Loss] = []
    assert published(entry, losses)
    assert {loss.field for loss in losses} == lost


def test_a_toolsets_members_are_switched_on_and_off() -> None:
    everything = published({"type": "browser_toolset_20260801"})
    assert not {f"browser__{name}" for name in OFF} & everything.keys()
    assert len(everything) == 31 - len(OFF)
    configs = {"javascript_exec": {"enabled": True}, "navigate": {"enabled": False}, "key": None, "type": {}}
    chosen = published({"type": "browser_toolset_20260801", "configs": configs})
    assert chosen.keys() - everything.keys() == {"browser__javascript_exec"}
    assert everything.keys() - chosen.keys() == {"browser__navigate"}


def test_members_are_deferred_one_by_one() -> None:
    entry = {"type": "computer_toolset_20260801", "configs": {"zoom": {"defer_loading": True}}}
    made = decode_tool(Raw(json.dumps(entry).encode()), "tools.0", []).tools
    assert [one.name for one in made if one.defer_loading] == ["computer__zoom"]


def test_the_client_is_told_of_members_by_their_own_names() -> None:
    request = parsed(tools=[{"type": "computer_toolset_20260801"}, tool("A")])
    assert request.members["computer__left_click"] == Member("computer", "left_click")
    assert request.members.keys() == {function_name(name, "computer") for name in COMPUTER_MEMBERS}
    assert not parsed(tools=[tool("computer__key")]).members


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "bash_20250124", "name": "bash"}, tool("bash")],
        [tool("memory"), {"type": "memory_20250818", "name": "memory"}],
        [{"type": "bash_20250124", "name": "bash"}, {"type": "bash_20241022", "name": "bash"}],
        [{"type": "computer_toolset_20260801"}, tool("computer__key")],
    ],
)
def test_two_tools_of_one_name_are_refused(tools: list[Json]) -> None:
    with pytest.raises(Rejection) as refused:
        parsed(tools=tools)
    assert refused.value.failure.details == {"error_code": "tool_name_conflict"}


@pytest.mark.parametrize(
    ("name", "kind", "function"),
    [
        ("left_click", "tool", "computer__left_click"),
        ("computer__key", "tool", "computer__key"),
        ("computer", "any", None),
    ],
)
def test_a_member_may_be_chosen(name: str, kind: str, function: str | None) -> None:
    request = parsed(tools=[{"type": "computer_toolset_20260801"}], tool_choice={"type": "tool", "name": name})
    assert request.tool_choice is not None
    assert (request.tool_choice.type, request.tool_choice.name) == (kind, function)
    assert [loss.field for loss in request.losses] == (["tool_choice.name"] if kind == "any" else [])


def test_a_tool_of_next_year_is_refused_by_its_type() -> None:
    request = decode_request(
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],'
        b'"tools":[{"type":"bash_20990101","name":"bash"}]}'
    )
    assert request.tools[0].type == "bash_20990101"
