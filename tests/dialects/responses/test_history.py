"""Items: everything in its place, reasoning only before what it led to, and a prefix that no later turn changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from latimer.dialects.content import INTERRUPTED
from latimer.dialects.responses.reasoning_items import sealed_item
from latimer.dialects.sealing import Sealed, route_mark, seal
from tests.dialects.chat.asking import ROUTE, Json, assistant, call, result, system, text, tool, user
from tests.dialects.chat.test_history import CONVERSATIONS
from tests.dialects.responses.asking import Asked, answered, called, output, profile, said
from tests.scenarios.checking import parse
from tests.scenarios.ledger import Ledger
from tests.scenarios.responses_rules import ResponsesRules

SDK_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)


def thought(encrypted: str, shown: str = "hm") -> Json:
    sealed = sealed_item(ROUTE, "rs_1", encrypted, summary=[shown], content=[], shown=shown)
    return {"type": "thinking", "thinking": shown, "signature": seal(sealed)}


def reasoned(encrypted: str, shown: str = "hm") -> Json:
    summary = [{"type": "summary_text", "text": shown}]
    return {"type": "reasoning", "summary": summary, "encrypted_content": encrypted}


def test_each_thing_is_an_item_in_its_place() -> None:
    asked = Asked(
        "go",
        assistant(thought("s1"), text("I "), text("look."), call("toolu_A", path="x"), call("toolu_B")),
        user(result("toolu_B", "b"), text("and"), result("toolu_A", "a")),
        system("Reminder."),
        assistant(text("done")),
        "thanks",
        system=[text("You are."), text("Be brief.")],
    )
    assert asked.input == [
        said("You are.", "Be brief.", role="system"),
        said("go"),
        reasoned("s1"),
        answered("I look."),
        called("toolu_A", arguments='{"path":"x"}'),
        called("toolu_B"),
        output("toolu_A", "a"),
        output("toolu_B", "b"),
        said("and"),
        said("Reminder.", role="system"),
        answered("done"),
        said("thanks"),
    ]
    assert not asked.lost


def test_text_that_claude_code_moved_before_a_call_keeps_its_own_reasoning() -> None:
    """Measured with 2.1.330: text after a call comes back before it."""
    moved = assistant(thought("s1"), text("a"), thought("s2"), text("b"), call("toolu_A"))
    asked = Asked("go", moved, user(result("toolu_A")))
    assert asked.input[1:6] == [reasoned("s1"), answered("a"), reasoned("s2"), answered("b"), called("toolu_A")]
    assert not asked.lost


def test_reasoning_that_led_to_nothing_is_left_out_and_reported() -> None:
    asked = Asked("go", assistant(text("a"), thought("s1"), thought("s2")), "on")
    assert asked.input == [said("go"), answered("a"), said("on")]
    assert asked.lost == {"messages.1.content.1", "messages.1.content.2"}


@pytest.mark.parametrize(
    "sealed",
    [
        Sealed(route_mark("other/model"), "summary", encrypted="e"),
        Sealed(route_mark(ROUTE), "reasoning_content"),
    ],
    ids=["another model", "another dialect"],
)
def test_reasoning_of_others_is_left_out_and_reported(sealed: Sealed) -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": seal(sealed)}
    asked = Asked("go", assistant(block, text("a")), "on")
    assert asked.input == [said("go"), answered("a"), said("on")]
    assert asked.lost == {"messages.1.content.0"}


def test_reasoning_is_not_given_back_where_it_is_not_taken() -> None:
    asked = Asked("go", assistant(thought("s"), text("a")), "on", rules=profile(reasoning={"replay": "never"}))
    assert asked.input == [said("go"), answered("a"), said("on")]
    assert asked.lost == {"messages.1.content.0"}
    assert "include" not in asked.body


def test_messages_have_ids_where_servers_check_for_them() -> None:
    asked = Asked(
        "a", assistant(text("b")), "c", assistant(text("d")), "e", rules=profile(messages={"output_ids": True})
    )
    assert [(item.get("id"), item.get("status")) for item in asked.input] == [
        (None, None),
        ("msg_0", "completed"),
        (None, None),
        ("msg_1", "completed"),
        (None, None),
    ]


def test_a_message_says_which_phase_it_is_of_where_that_is_known() -> None:
    rules = profile(messages={"phase": True})
    turns = ("go", assistant(text("a"), call("toolu_A")), user(result("toolu_A")), assistant(text("b")), "on")
    phases = [item["phase"] for item in Asked(*turns, rules=rules).input if item.get("role") == "assistant"]
    assert phases == ["commentary", "final_answer"]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    asked = Asked("go", assistant(call("toolu_A")), "on")
    assert asked.input == [said("go"), called("toolu_A"), output("toolu_A", INTERRUPTED), said("on")]
    assert asked.lost == {"messages.1.content.0"}


def test_a_result_without_a_call_is_told() -> None:
    asked = Asked("go", assistant(text("a")), user(result("toolu_A", "late")))
    assert asked.input[-1] == said("[result of tool call toolu_A]\nlate")


def test_blocks_of_servers_are_told_in_paragraphs_of_their_own() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    asked = Asked("go", assistant(text("a"), search, text("b")), "on")
    told = [item["content"][0]["text"] for item in asked.input if item.get("role") == "assistant"]
    assert told == ['a\n\n[web_search {"query":"x"}]', "b"]


@pytest.mark.parametrize(
    ("rules", "last"),
    [
        ({"merge_users": True, "mid_system": "tagged"}, [said("<system-reminder>\nR.\n</system-reminder>", "on")]),
        ({"mid_system": "tagged"}, [said("<system-reminder>\nR.\n</system-reminder>"), said("on")]),
        ({"merge_users": True}, [said("R.", role="system"), said("on")]),
        (
            {"bridge": "Done.", "mid_system": "tagged"},
            [
                {"type": "message", "role": "assistant", "content": "Done."},
                said("<system-reminder>\nR.\n</system-reminder>"),
                said("on"),
            ],
        ),
    ],
)
def test_messages_stand_as_the_template_wants_them(rules: Json, last: list[Json]) -> None:
    asked = Asked(
        "go", assistant(call("toolu_A")), user(result("toolu_A")), system("R."), "on", rules=profile(messages=rules)
    )
    assert asked.input == [said("go"), called("toolu_A"), output("toolu_A"), *last]


def test_strings_are_merged_too() -> None:
    rules = profile(messages={"merge_users": True, "content": "string_only"})
    assert Asked("a", "b", rules=rules).input == [{"type": "message", "role": "user", "content": "a\n\nb"}]


RULES = [{}, {"mid_system": "tagged"}, {"content": "string_only"}, {"phase": True}]


@given(CONVERSATIONS, st.sampled_from(RULES), st.sampled_from(["next_user", "spec"]))
def test_the_strictest_server_takes_any_history(conversation: list[Json], rules: Json, images: str) -> None:
    rules_of_all = profile(messages=rules, media={"tool_images": images})
    asked = Asked(*conversation, rules=rules_of_all, tools=[tool()])
    ResponsesRules().check(parse(asked.raw), Ledger())
    assert {item.get("phase") for item in asked.input if item.get("role") != "assistant"} <= {None}


@given(CONVERSATIONS)
def test_the_sdks_types_take_any_history_with_ids(conversation: list[Json]) -> None:
    """As vLLM and others check it."""
    asked = Asked(*conversation, rules=profile(messages={"output_ids": True}))
    for item in asked.input:
        SDK_ITEM.validate_python(item, strict=False)
