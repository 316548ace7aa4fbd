"""The real Claude Code runs tools that its model called wrongly: as text, or with broken arguments."""

import json
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, SKIP_PERMISSIONS, ClaudeCode
from tests.latimer_process import Latimer
from tests.scenarios import coding
from tests.scenarios.replies import Call, Say
from tests.upstream import Exchange, Upstream

COMMAND = "echo made of text > made.txt; cat made.txt"
ARGUMENTS = {"command": COMMAND, "description": "Run a step"}
WRITTEN = {
    "hermes": f"<tool_call>\n{json.dumps({'name': 'Bash', 'arguments': ARGUMENTS})}\n</tool_call>",
    "qwen3-coder": (
        f"<tool_call>\n<function=Bash>\n<parameter=command>\n{COMMAND}\n</parameter>\n"
        "<parameter=timeout>\n5000\n</parameter>\n</function>\n</tool_call>"
    ),
    "kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>"
        f"{json.dumps(ARGUMENTS)}<|tool_call_end|><|tool_calls_section_end|>"
    ),
}
BROKEN = {
    "single quotes": f"{{'command': '{COMMAND}', 'description': 'Run a step',}}",
    "wrong types": json.dumps({**ARGUMENTS, "timeout": "5000", "run_in_background": "false"}),
    "misnamed": json.dumps({"cmd": COMMAND, "description": "Run a step"}),
    "double-encoded": json.dumps(json.dumps(ARGUMENTS)),
}


@pytest.fixture
def claude(gateway: Latimer, tmp_path: Path) -> ClaudeCode:
    return ClaudeCode(NEWEST, tmp_path / "home", gateway.url)


def answered(exchange: Exchange) -> Say:
    return Say(f"It said {exchange.results[-1].strip()}.")


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_written_as_text_is_run(claude: ClaudeCode, upstream: Upstream, form: str) -> None:
    upstream.play(coding.steps(Say(f"I will make it.\n\n{WRITTEN[form]}", piece=3), answered))
    run = claude.ask("make the file", *SKIP_PERMISSIONS)
    assert run.text == "It said made of text."
    assert [use["input"]["command"] for use in run.tool_uses] == [COMMAND]
    assert (claude.project / "made.txt").read_text() == "made of text\n"
    turn = next(message for message in upstream.last.messages if "tool_calls" in message)
    assert turn["content"].strip() == "I will make it."
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["Bash"]


@pytest.mark.parametrize("form", BROKEN)
def test_a_call_with_broken_arguments_is_run(claude: ClaudeCode, upstream: Upstream, form: str) -> None:
    upstream.play(coding.steps(Say(calls=(Call("Bash", BROKEN[form]),)), answered))
    run = claude.ask("make the file", *SKIP_PERMISSIONS)
    assert run.text == "It said made of text."
    assert [use["input"]["command"] for use in run.tool_uses] == [COMMAND]


def test_an_explanation_of_the_marks_stays_text(claude: ClaudeCode, upstream: Upstream) -> None:
    text = f"A model writes:\n\n```xml\n{WRITTEN['hermes']}\n```\n\nand `<tool_call>` begins it."
    upstream.play([Say(text, piece=5)])
    run = claude.ask("explain", *SKIP_PERMISSIONS)
    assert (run.text, run.tool_uses) == (text, [])
