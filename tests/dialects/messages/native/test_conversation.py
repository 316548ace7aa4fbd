"""The system prompt and the messages: roles, order, and what stays valid when something is taken out."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.history import EMPTY_TURN
from latimer.dialects.messages.native.conversation import PLACEHOLDER
from latimer.dialects.messages.native.request import encode_request
from latimer.dialects.messages.request import decode_request
from latimer.dialects.sealing import Sealed, seal
from latimer.profile import MessageRules, Profile
from tests.requests import conversations

from .asking import ANTHROPIC, HELLO, MARK, body_of, everything_but, lost, messages_of, native, sent, text

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.f89;"
OURS = {"type": "thinking", "thinking": "Hm.", "signature": seal(Sealed("route"))}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
USER = {"role": "user", "content": "hi"}
REMINDER = {"role": "system", "content": "Be brief."}
TAGGED = {"role": "user", "content": [text("<system-reminder>\nBe brief.\n</system-reminder>")]}
INSISTING = native(thinking_in_calls=True)


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def system_of(system: Any, profile: Profile = ANTHROPIC) -> Any:
    return body_of(HELLO | {"system": system}, profile).get("system")


def test_the_billing_line_by_rule() -> None:
    blocks = [text(BILLING), text("You are Claude Code.")]
    assert system_of(blocks) == blocks
    assert system_of(blocks, Profile()) == blocks[1:]
    assert system_of(f"{BILLING}\n\nBe kind.", Profile()) == "Be kind."
    assert system_of([text(f"{BILLING}\nBe kind.")], Profile()) == [text("Be kind.")]
    assert system_of([text(BILLING)], Profile()) is None
    assert system_of(BILLING, Profile()) is None


def test_marks_of_the_system_prompt() -> None:
    assert system_of([text("x", **MARK)]) == [text("x", **MARK)]
    assert system_of([text("x", **MARK)], Profile()) == [text("x")]


def test_a_system_message_in_mid_conversation_is_marked_user_text() -> None:
    assert messages_of([USER, REMINDER]) == [USER, REMINDER]
    assert messages_of([USER, REMINDER], Profile()) == [USER, TAGGED]
    assert lost(sent(HELLO | {"messages": [USER, REMINDER]}, Profile())) == {"messages.1.role"}
    blocks = {"role": "system", "content": [text("Be brief.", **MARK)], "output_config": {"effort": "low"}}
    assert messages_of([USER, blocks], Profile()) == [USER, TAGGED]


def test_marked_text_does_not_part_a_call_from_its_result() -> None:
    answer = {"role": "user", "content": [RESULT]}
    assert messages_of([USER, assistant(CALL), REMINDER, answer], Profile()) == [USER, assistant(CALL), answer, TAGGED]
    assert messages_of([USER, assistant(CALL), answer, REMINDER], Profile()) == [USER, assistant(CALL), answer, TAGGED]


def test_neighbouring_user_messages_may_be_merged() -> None:
    profile = Profile(messages=MessageRules(merge_users=True))
    assert messages_of([USER, REMINDER, USER], profile) == [
        {"role": "user", "content": [text("hi"), *TAGGED["content"], text("hi")]}  # type: ignore[misc]
    ]


def test_an_assistant_message_of_nothing_but_sealed_thinking_goes_with_it() -> None:
    outgoing = sent(HELLO | {"messages": [USER, assistant(OURS), USER]})
    assert json.loads(outgoing.body)["messages"] == [USER, USER]
    assert lost(outgoing) == {"messages.1", "messages.1.content.0"}


def test_a_user_message_of_nothing_says_so() -> None:
    asked = [USER, assistant(text("x")), {"role": "user", "content": [{"type": "fallback"}]}]
    assert messages_of(asked, Profile())[2] == {"role": "user", "content": EMPTY_TURN}


def test_a_message_that_has_served_its_turn_is_left_out() -> None:
    once = {**REMINDER, "clear_at": "next_user_message"}
    assert messages_of([USER, once, USER]) == [USER, once, USER]
    assert messages_of([USER, once, USER], Profile()) == [USER, USER]
    assert messages_of([USER, once], Profile()) == [USER, TAGGED]


def test_members_and_roles_that_came_later() -> None:
    strange = {"role": "tool", "content": "x", "new_2031": 1}
    assert messages_of([strange]) == [strange]
    outgoing = sent(HELLO | {"messages": [strange]}, everything_but(new_members=False))
    assert json.loads(outgoing.body)["messages"] == [{"role": "user", "content": "x"}]
    assert lost(outgoing) == {"messages.0.role", "messages.0.new_2031"}


def test_calls_without_thinking_get_a_word_where_the_provider_insists() -> None:
    word = {"type": "thinking", "thinking": PLACEHOLDER, "signature": ""}
    answer = {"role": "user", "content": [RESULT]}
    assert messages_of([USER, assistant(CALL), answer], INSISTING)[1] == assistant(word, CALL)
    assert messages_of([USER, assistant(OURS, CALL), answer], INSISTING)[1] == assistant(word, CALL)
    hidden = {"type": "thinking", "thinking": "", "signature": "theirs"}
    shown = messages_of([USER, assistant(hidden, CALL), answer], INSISTING)[1]
    assert shown == assistant({**hidden, "thinking": PLACEHOLDER}, CALL)
    theirs = {"type": "thinking", "thinking": "Hm.", "signature": "theirs"}
    assert messages_of([USER, assistant(theirs, CALL), answer], INSISTING)[1] == assistant(theirs, CALL)
    assert messages_of([USER, assistant(text("x")), USER], INSISTING)[1] == assistant(text("x"))
    off = {"type": "disabled"}
    assert messages_of([USER, assistant(CALL), answer], INSISTING, thinking=off)[1] == assistant(CALL)


@given(conversations(), st.sampled_from([ANTHROPIC, Profile(), INSISTING]))
def test_the_beginning_of_a_conversation_stays_as_it_was(turns: list[dict[str, Any]], profile: Profile) -> None:
    """Else a provider's prefix cache is lost with every turn. Marks that go through are the client's business."""
    earlier: list[Any] = []
    for body in turns:
        raw = json.dumps(body).encode()
        outgoing = encode_request(decode_request(raw), model="m", route="a/b", profile=profile, raw=raw)
        messages = [_plain(message) for message in json.loads(outgoing.body)["messages"]]
        assert messages[: len(earlier)] == earlier
        earlier = messages


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message without cache marks and per-turn settings, text as blocks."""
    blocks = message["content"] if isinstance(message["content"], list) else [text(message["content"])]
    return {"role": message["role"], "content": json.loads(json.dumps(blocks), object_hook=_unmarked)}


def _unmarked(value: dict[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key != "cache_control"}
