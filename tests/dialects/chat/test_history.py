"""Messages: pairs of calls and results in every order, and a prefix that no later turn changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.errors import Rejection
from latimer.profile import Profile
from tests.dialects.chat.asking import (
    DEFAULT,
    Asked,
    Json,
    assistant,
    call,
    marked,
    profile,
    result,
    system,
    text,
    tool,
    user,
)
from tests.scenarios.rules import Rules, parse

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
FOREIGN = {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}

BLOCKS = st.sampled_from([text("words"), text(""), IMAGE, {"type": "hologram"}])
IDS = st.sampled_from(["toolu_A", "toolu_B", "functions.Bash:0", "call_1|fc_1"])
USERS = st.lists(BLOCKS | st.builds(result, IDS, st.sampled_from(["out", "", [IMAGE], [text("a"), IMAGE]])), max_size=4)
ASSISTANTS = st.lists(st.sampled_from([text("said"), text(""), FOREIGN]) | st.builds(call, IDS), max_size=4)
MESSAGES = st.one_of(
    USERS.map(lambda blocks: {"role": "user", "content": blocks}),
    ASSISTANTS.map(lambda blocks: {"role": "assistant", "content": blocks}),
    st.just(system("Reminder.")),
    st.sampled_from(["words", ""]).map(user),
)
CONVERSATIONS = st.lists(MESSAGES, min_size=1, max_size=8).map(lambda said: [user("start"), *said, user("end")])
PROFILES = st.sampled_from(
    [
        DEFAULT,
        profile(messages={"mid_system": "tagged", "assistant_null": "empty"}),
        profile(messages={"content": "parts"}, tools={"id_pattern": "[A-Za-z0-9]{9}"}),
        profile(messages={"content": "string_only"}),
        profile(messages={"mid_system": "tagged", "bridge": "Done."}),
    ]
)


@given(CONVERSATIONS, PROFILES)
def test_the_strictest_server_takes_any_history(said: list[Json], rules: Profile) -> None:
    """Pain row 3: Esc, crashes and compaction leave halves of pairs behind, and one of them poisons a session."""
    asked = Asked(*said, rules=rules, tools=[tool()])
    Rules(model="m").check(parse(asked.raw))


@given(CONVERSATIONS, PROFILES, st.data())
def test_what_was_sent_stays_as_it_was(said: list[Json], rules: Profile, data: st.DataObject) -> None:
    """Law 8, for any place where the client waited for an answer: after a user's message, with all results in it."""
    before = Asked(*said, rules=rules).messages
    answer = data.draw(ASSISTANTS.filter(lambda blocks: all(block != text("") for block in blocks)))
    results = [result(block["id"]) for block in answer if block["type"] == "tool_use"]
    after = Asked(*said, assistant(*answer), user(*results, text("on")), rules=rules).messages
    assert after[: len(before)] == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("a"), user(text("a"))),
        (user("a"), user(marked(text("a")))),
        (user(text("a"), text("b")), user(text("a"), marked(text("b")))),
        (system("a"), system(marked(text("a")))),
        (user(result("toolu_A", "out")), user(marked(result("toolu_A", [text("out")])))),
    ],
)
def test_forms_that_claude_code_flips_are_one(one: Json, other: Json) -> None:
    said: list[Json] = [user("go"), assistant(call("toolu_A"))]
    assert Asked(*said, one, user("x")).messages == Asked(*said, other, user("x")).messages


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_only_the_marks_move_where_marks_are_passed_on(place: int) -> None:
    blocks = [text("a"), text("b"), result("toolu_A", "out"), text("c")]
    blocks[place] = marked(blocks[place])
    asked = Asked(user(*blocks[:2]), assistant(call("toolu_A")), user(*blocks[2:]), rules=PASSING, system="s")
    assert sum("cache_control" in node for node in _nodes(asked.messages)) == 1
    plain = Asked(user(text("a"), text("b")), assistant(call("toolu_A")), UNMARKED, rules=PASSING, system="s")
    assert _unmarked(asked.messages) == plain.messages


UNMARKED = user(result("toolu_A", "out"), text("c"))
PASSING = profile(cache={"cache_control": "pass"})


def _nodes(value: Any) -> list[Json]:
    if isinstance(value, list):
        return [node for item in value for node in _nodes(item)]
    if isinstance(value, dict):
        return [value, *(node for item in value.values() for node in _nodes(item))]
    return []


def _unmarked(value: Any) -> Any:
    return json.loads(json.dumps(value).replace(', "cache_control": {"type": "ephemeral"}', ""))


def test_calls_with_one_id_are_answered_each_by_its_own_result() -> None:
    twice = [call("toolu_A", command="a"), call("toolu_A", command="b")]
    said = [user("go"), assistant(*twice), user(result("toolu_A", "1"), result("toolu_A", "2"))]
    messages = Asked(*said, assistant(call("toolu_A")), user(result("toolu_A", "3"))).messages
    ids = [made["id"] for message in messages for made in message.get("tool_calls", ())]
    answers = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    assert [answers[made] for made in ids] == ["1", "2", "3"]


def test_a_second_result_for_a_call_is_told_as_text() -> None:
    asked = Asked("go", assistant(call("toolu_A")), user(result("toolu_A", "1"), result("toolu_A", "2")))
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "tool", "user"]
    assert asked.messages[-1]["content"] == "[result of tool call toolu_A]\n2"
    assert asked.lost == {"messages.2.content.1"}


@pytest.mark.parametrize("late", [user("on"), user(text("Tool loaded."), IMAGE), system("Reminder.")])
def test_the_assistant_says_a_word_between_a_tool_and_a_user(late: Json) -> None:
    rules = profile(messages={"mid_system": "tagged", "bridge": "Done."})
    said = [user("go"), assistant(call("toolu_A")), user(result("toolu_A", [IMAGE]))]
    for more in ([], [late]):
        asked = Asked(*said, *more, rules=rules)
        assert [message["role"] for message in asked.messages][:5] == ["user", "assistant", "tool", "assistant", "user"]
        assert asked.messages[3] == {"role": "assistant", "content": "Done."}
        assert "messages" in asked.lost


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("null", {"content": None}),
        ("empty", {"content": ""}),
        ("omit", {}),
    ],
)
def test_content_of_a_message_that_only_calls(style: str, message: Json) -> None:
    asked = Asked(
        "go", assistant(call("toolu_A")), user(result("toolu_A")), rules=profile(messages={"assistant_null": style})
    )
    assert {key: value for key, value in asked.messages[1].items() if key == "content"} == message


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([text("a"), text("b")], "ab"),
        ([text("a"), text(""), text("b")], "ab"),
        ([text("a"), FOREIGN, text("b")], "a\n\nb"),
        ([FOREIGN, text("a")], "a"),
        ([text("a"), {"type": "hologram"}], "a\n\n[hologram block left out: it cannot be carried to this model]"),
        ([{"type": "hologram"}, text("a")], "[hologram block left out: it cannot be carried to this model]\n\na"),
        ([{"type": "fallback"}, text("a")], "a"),
        ([IMAGE], "[image left out: it cannot be carried here]"),
    ],
)
def test_texts_of_an_assistant_are_one(blocks: list[Json], content: str) -> None:
    assert Asked("go", assistant(*blocks), "on").messages[1] == {"role": "assistant", "content": content}


def test_an_assistant_message_of_nothing_is_left_out() -> None:
    asked = Asked("a", assistant(FOREIGN), "b", assistant(text("")), "c")
    assert [message["content"] for message in asked.messages] == ["a", "b", "c"]
    assert asked.lost == {"messages.1.content.0"}


def test_a_call_of_a_toolset_and_of_code_keep_what_can_be_kept() -> None:
    block = {**call("toolu_A", "key"), "toolset_name": "computer", "caller": {"type": "code_execution_20260120"}}
    asked = Asked("go", assistant(marked(block)), user(result("toolu_A", toolset_name="computer")))
    assert asked.messages[1]["tool_calls"][0]["function"]["name"] == "computer__key"
    assert asked.lost == {
        "messages.1.content.0.toolset_name",
        "messages.1.content.0.caller",
        "messages.1.content.0.cache_control",
        "messages.2.content.0.toolset_name",
    }


@pytest.mark.parametrize(
    "last",
    [
        [assistant("I say")],
        [assistant(call("toolu_A"))],
        [assistant("I say"), system(text(""), output_config={"effort": "low"})],
    ],
)
def test_a_conversation_must_not_end_in_the_assistants_words(last: list[Json]) -> None:
    with pytest.raises(Rejection, match="does not support assistant message prefill"):
        Asked("go", *last)


def test_a_late_system_message_is_no_prefill() -> None:
    assert [message["role"] for message in Asked("go", assistant("a"), system("Go on.")).messages][-1] == "system"


@pytest.mark.parametrize("first", [user("a"), user(text("a"), IMAGE)])
@pytest.mark.parametrize("second", [user("b"), user(IMAGE)])
def test_user_messages_merge_for_strict_templates(first: Json, second: Json) -> None:
    rules = profile(messages={"mid_system": "tagged", "merge_users": True})
    asked = Asked(first, second, system("r"), assistant("x"), user("c"), rules=rules)
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "user"]


def test_a_message_for_one_turn_goes_with_it() -> None:
    once = system("Once.", clear_at="next_user_message")
    assert len(Asked("a", once).messages) == 2
    later = Asked("a", once, assistant("x"), "b")
    assert [message["content"] for message in later.messages] == ["a", "x", "b"]
    assert later.lost == {"messages.1.clear_at"}
    assert Asked("a", system("s", clear_at="doomsday")).lost == {"messages.1.clear_at"}
