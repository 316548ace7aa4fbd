"""What is asked, and when nothing is."""

from typing import Any

import pytest
from msgspec import json

from latimer.continuation.resume import ENDED, Resume, closing, ending, resume
from latimer.continuation.shown import Shown
from latimer.dialects.messages.encoder import Heading, StreamEncoder
from latimer.dialects.messages.request import Request, decode_request
from latimer.events import (
    Block,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Opaque,
    Reasoning,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)
from latimer.profile import EndpointRules, MessageRules, Profile
from latimer.wire.messages import TextBlock, ThinkingBlock

TOOL = {"name": "Bash", "input_schema": {"type": "object"}}
PREFILL = Profile(messages=MessageRules(prefill="native"))
WHOLE, HALF = True, False


def request(**fields: Any) -> Request:
    asked = {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "Tell me."}]}
    return decode_request(json.encode(asked | fields))


def shown(*blocks: tuple[Block, str, bool], signature: str = "") -> Shown:
    watched = Shown(StreamEncoder(Heading("msg_1", "m", "req_1")))
    events: list[Event] = [Start("i", "m", Usage(50, 1, 30, 10))]
    for index, (block, data, whole) in enumerate(blocks):
        signed: list[Event] = [Signature(index, signature)] if signature and isinstance(block, Reasoning) else []
        events += [BlockStart(index, block), Delta(index, data), *signed, *([BlockStop(index)] if whole else [])]
    for event in events:
        watched.encode(event)
    return watched


def asked(watched: Shown, profile: Profile = Profile(), **fields: Any) -> Request:  # noqa: B008  # frozen
    following = resume(request(**fields), watched)
    assert following is not None
    return following.request(profile)


def test_the_model_is_shown_its_text_and_asked_for_its_last_words() -> None:
    answer, question = asked(shown((Text(), "Once upon a time ", HALF))).messages[1:]
    assert (answer.index, answer.role, answer.blocks) == (1, "assistant", [TextBlock("Once upon a time ")])
    assert (question.index, question.role) == (2, "user")
    (words,) = question.blocks
    assert isinstance(words, TextBlock)
    assert "\nOnce upon a time\n" in words.text


def test_a_model_that_takes_the_beginning_of_an_answer_is_given_it() -> None:
    (answer,) = asked(shown((Text(), "Once upon", HALF)), PREFILL).messages[1:]
    assert answer.role == "assistant"
    assert len(asked(shown((Text(), "Once upon ", HALF)), PREFILL).messages) == 3, "none may end in white space"
    native = Profile(endpoint=EndpointRules(dialect="messages"), messages=MessageRules(prefill="native"))
    assert len(asked(shown((Text(), "Once upon", HALF)), native).messages) == 3


def test_the_clients_bytes_stay_and_get_the_same_at_their_end() -> None:
    raw = b'{"model":"m", "max_tokens":1000,"new":1, "messages":[ {"role":"user","content":"Tell me."}\n] }'
    watched = shown((Reasoning(), "hm", WHOLE), (Text(), "Once upon a time", HALF), signature="sig")
    following = resume(decode_request(raw), watched)
    assert following is not None
    for profile in (Profile(), PREFILL):
        longer = following.raw(raw, profile)
        assert longer is not None
        start, end = raw.replace(b"1000", b"995").split(b"\n")
        assert longer.startswith(start)
        assert longer.endswith(end)
        assert decode_request(longer).messages == following.request(profile).messages
        assert decode_request(longer).body.max_tokens == following.request(profile).body.max_tokens
    assert following.raw(None, PREFILL) is None
    again = resume(decode_request(raw), shown((Reasoning(), "hm", HALF)))
    assert again is not None
    assert again.raw(raw, PREFILL) == raw.replace(b"1000", b"999")


def test_thinking_goes_back_as_the_client_would_send_it() -> None:
    watched = shown((Reasoning(), "hm", WHOLE), (Text(), "So", HALF), signature="sig")
    assert asked(watched).messages[1].blocks == [ThinkingBlock("hm", "sig"), TextBlock("So")]
    hidden = asked(watched, thinking={"type": "adaptive", "display": "omitted"})
    assert hidden.messages[1].blocks == [ThinkingBlock("", "sig"), TextBlock("So")]
    unsigned = shown((Reasoning(), "hm", WHOLE), (Text(), "So", HALF))
    assert asked(unsigned).messages[1].blocks == [TextBlock("So")]


@pytest.mark.parametrize("said", [(Reasoning(), "hm", HALF), (Reasoning(), "hm", WHOLE), (Text(), " \n", HALF)])
def test_without_a_word_the_same_is_asked_again(said: tuple[Block, str, bool]) -> None:
    assert asked(shown(said)).messages == request().messages


def test_it_may_say_no_more_than_was_left() -> None:
    watched = shown((Text(), "x" * 400, HALF))
    assert asked(watched).body.max_tokens == 900
    assert asked(watched, thinking={"type": "enabled", "budget_tokens": 990}).body.max_tokens == 991
    assert resume(request(max_tokens=100), watched) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "Bash"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"messages": [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": "Once"}]},
    ],
)
def test_what_would_be_begun_anew_is_not_gone_on_with(fields: dict[str, Any]) -> None:
    assert resume(request(**fields), shown((Text(), " upon", HALF))) is None
    assert isinstance(resume(request(**fields), shown((Reasoning(), "hm", HALF))), Resume)


def test_what_no_request_could_be_told_of_is_not_gone_on_with() -> None:
    opaque = Opaque("messages", b'{"type":"server_tool_use"}')
    assert resume(request(), shown((opaque, "", WHOLE), (Text(), "So", HALF))) is None


def test_a_tool_call_ends_the_answer() -> None:
    watched = shown((Text(), "Let me see.", WHOLE), (ToolCall("c", "Bash"), '{"a":1}', WHOLE))
    assert resume(request(), watched) is None
    finish = ending(watched)
    assert finish is not None
    assert (finish.reason, finish.usage) == ("tool_call", Usage(50, 5, 30, 10))
    assert [loss.why for loss in finish.losses] == [ENDED]
    assert closing(watched) == []
    assert closing(shown((ToolCall("c", "Bash"), "{}", WHOLE), (Text(), "And", HALF))) == [BlockStop(1)]


def test_thinking_that_was_cut_off_is_closed_and_text_is_not() -> None:
    assert closing(shown((Reasoning(), "hm", HALF))) == [BlockStop(0)]
    assert closing(shown((Text(), "Once", HALF))) == []
    assert closing(shown((Text(), "Once", WHOLE))) == []
    assert ending(shown((Text(), "Once", HALF))) is None
