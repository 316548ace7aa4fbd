"""Anthropic's own client tools through Latimer, as the official SDK's types and helpers read them."""

from typing import Any

import anthropic
import pytest
from anthropic.types import (
    BrowserLeftClickInput,
    ComputerKeyInput,
    ResponseBrowserToolUseBlock,
    ResponseComputerToolUseBlock,
    ToolUseBlock,
)
from pydantic import TypeAdapter

from tests.interop.sdk import CLOCK, Sdk, assistant, result, user
from tests.scenarios.replies import Call, Say

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])

BASH: dict[str, Any] = {"type": "bash_20250124", "name": "bash"}
EDITOR: dict[str, Any] = {
    "type": "text_editor_20250728",
    "name": "str_replace_based_edit_tool",
    "max_characters": 9000,
}
COMPUTER: dict[str, Any] = {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}}}
BROWSER: dict[str, Any] = {"type": "browser_toolset_20260801"}


def calls(message: anthropic.types.Message) -> list[ToolUseBlock]:
    return [block for block in message.content if isinstance(block, ToolUseBlock)]


@both_ways
def test_shell_and_editor(sdk: Sdk, streaming: bool) -> None:
    edit = {"command": "str_replace", "path": "/a.py", "old_str": "1", "new_str": "2"}
    sdk.upstream.play([Say(calls=(Call("bash", {"command": "ls"}), Call(EDITOR["name"], edit)))])
    message = sdk.ask(streaming, tools=[BASH, EDITOR, CLOCK])
    assert message.stop_reason == "tool_use"
    assert [(call.name, call.input, call.toolset_name) for call in calls(message)] == [
        ("bash", {"command": "ls"}, None),
        (EDITOR["name"], edit, None),
    ]
    sent = sdk.upstream.last.tools
    assert sent.keys() == {"bash", EDITOR["name"], "clock"}
    assert "9000 characters" in sent[EDITOR["name"]]["description"]
    assert sent["bash"]["parameters"]["properties"].keys() == {"command", "restart"}


@both_ways
def test_toolsets(sdk: Sdk, streaming: bool) -> None:
    target = {"type": "ref", "ref": "ref_7"}
    press, click = Call("computer__key", {"text": "ctrl+s"}), Call("browser__left_click", {"target": target})
    sdk.upstream.play([Say(calls=(press, click)), Say("Saved.")])
    message = sdk.ask(streaming, tools=[COMPUTER, BROWSER])
    first, second = calls(message)
    key = TypeAdapter[Any](ResponseComputerToolUseBlock).validate_python(first.model_dump())
    assert (key.name, key.toolset_name, key.input) == ("key", "computer", ComputerKeyInput(text="ctrl+s"))
    clicked = TypeAdapter[Any](ResponseBrowserToolUseBlock).validate_python(second.model_dump())
    assert (clicked.name, clicked.toolset_name) == ("left_click", "browser")
    assert isinstance(clicked.input, BrowserLeftClickInput)
    assert clicked.input.target.model_dump() == target
    names = sdk.upstream.last.tools.keys()
    assert len(names) == 16 + 27
    assert "computer__zoom" not in names

    answers = [result(call.id, "done", toolset_name=call.toolset_name) for call in (first, second)]
    said = [call.model_dump(exclude_none=True) for call in (first, second)]
    again = sdk.client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=500,
        messages=[user("hi"), assistant(said), user(answers)],  # type: ignore[list-item]
        tools=[COMPUTER, BROWSER],  # type: ignore[list-item]
    )
    assert again.content[0].model_dump()["text"] == "Saved."
    told = [call["function"]["name"] for call in sdk.upstream.last.body["messages"][1]["tool_calls"]]
    assert told == ["computer__key", "browser__left_click"]


def test_a_name_conflict_is_the_sdks_own_error(sdk: Sdk) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        sdk.ask(tools=[BASH, {"name": "bash", "input_schema": {"type": "object"}}])
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["details"] == {"error_code": "tool_name_conflict"}


def test_the_beta_client_reads_memory_and_computer(sdk: Sdk) -> None:
    view = {"command": "view", "path": "/memories"}
    click = {"action": "left_click", "coordinate": [10, 20]}
    sdk.upstream.play([Say(calls=(Call("memory", view), Call("computer", click)))])
    screen: Any = {"type": "computer_20251124", "name": "computer", "display_width_px": 1024, "display_height_px": 768}
    message = sdk.client.beta.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=500,
        messages=[{"role": "user", "content": "hi"}],
        tools=[{"type": "memory_20250818", "name": "memory"}, screen],
        betas=["computer-use-2025-11-24", "context-management-2025-06-27"],
    )
    assert [(block.name, block.input) for block in message.content if block.type == "tool_use"] == [
        ("memory", view),
        ("computer", click),
    ]
    assert "1024 pixels wide" in sdk.upstream.last.tools["computer"]["description"]
