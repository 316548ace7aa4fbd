"""Blocks for an upstream that takes some of them."""

import base64
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.dialects.sealing import Sealed, seal
from latimer.errors import Rejection
from latimer.images import Description
from latimer.profile import CacheRules, MediaRules, NativeRules, Profile
from tests.scenarios import files

from .asking import ANTHROPIC, BASH, EVERYTHING, HELLO, MARK, everything_but, lost, messages_of, native, sent, text

PNG = base64.b64encode(files.png()).decode()
PDF = base64.b64encode(files.pdf("forty-two violins")).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
SEEN = {"type": "image", "source": {"type": "url", "url": "https://example.invalid/a.png"}}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
THEIRS = {"type": "thinking", "thinking": "Hm.", "signature": "theirs"}
OURS = {"type": "thinking", "thinking": "Hm.", "signature": seal(Sealed("route"))}
BLIND = Profile(media=MediaRules(images=False))


def user(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def content(block: dict[str, Any], profile: Profile, **more: Any) -> Any:
    return messages_of(user(block), profile, **more)[0]["content"]


def result(*blocks: Any, **more: Any) -> list[dict[str, Any]]:
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": list(blocks), **more}
    return [*user(text("go")), {"role": "assistant", "content": [CALL]}, *user(answer)]


def test_thinking_of_its_own_comes_back_unmodified_and_latimers_is_taken_out() -> None:
    history = [*user(text("hi")), {"role": "assistant", "content": [OURS, THEIRS, text("Hello.")]}, *user(text("go"))]
    for profile in (ANTHROPIC, Profile()):
        assert messages_of(history, profile)[1]["content"] == [THEIRS, text("Hello.")]
    assert lost(sent(HELLO | {"messages": history})) == {"messages.1.content.0"}


def test_redacted_thinking_by_rule() -> None:
    redacted = {"type": "redacted_thinking", "data": "secret"}
    history = [*user(text("hi")), {"role": "assistant", "content": [redacted, text("Hello.")]}, *user(text("go"))]
    assert messages_of(history, Profile()) == history
    without = native(blocks=frozenset({"text", "thinking"}))
    assert messages_of(history, without)[1]["content"] == [text("Hello.")]
    assert lost(sent(HELLO | {"messages": history}, without)) == {"messages.1.content.0"}


def test_cache_marks_are_stripped_passed_or_shortened() -> None:
    long = text("hi", cache_control={"type": "ephemeral", "ttl": "1h", "scope": "global"})
    assert content(long, ANTHROPIC) == [long]
    assert content(long, Profile()) == [text("hi")]
    marks = Profile(cache=CacheRules(cache_control="pass"))
    assert content(long, marks) == [text("hi", **MARK)]
    assert {"messages.0.content.0.cache_control.ttl", "messages.0.content.0.cache_control.scope"} == lost(
        sent(HELLO | {"messages": user(long)}, marks)
    )
    assert content(long, replace(marks, native=NativeRules(cache_ttl=True)))[0]["cache_control"]["ttl"] == "1h"


def test_marks_inside_of_results_too() -> None:
    history = result(text("done", **MARK))
    assert messages_of(history) == history
    assert messages_of(history, Profile())[2]["content"][0]["content"] == [text("done")]


def test_members_that_came_later() -> None:
    cited = text("hi", citations=[{"type": "char_location"}], new_2031=True)
    assert content(cited, everything_but(new_members=False)) == [text("hi")]
    assert content(text("hi", citations=None), Profile()) == [text("hi")]
    assert lost(sent(HELLO | {"messages": user(cited)}, Profile())) == {
        "messages.0.content.0.citations",
        "messages.0.content.0.new_2031",
    }


def test_a_call_of_a_toolset_is_one_of_its_function() -> None:
    call = {**CALL, "name": "left_click", "toolset_name": "computer", "caller": {"type": "direct"}}
    history = [*user(text("go")), {"role": "assistant", "content": [call]}, *user(text("go"))]
    assert messages_of(history) == history
    assert messages_of(history, Profile())[1]["content"] == [{**CALL, "name": "computer__left_click"}]


def test_images_in_words_where_none_are_taken() -> None:
    assert content(IMAGE, Profile()) == [IMAGE]
    (told,) = content(IMAGE, BLIND)
    assert told["text"].startswith("[image left out")
    shown = result(text("a picture:"), IMAGE)
    parts = messages_of(shown, BLIND)[2]["content"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "text"]


def test_images_are_described_by_another_model() -> None:
    wanted = sent(HELLO | {"messages": user(IMAGE)}, BLIND, known=lambda name: None)
    assert len(wanted.unseen) == 1
    described = sent(HELLO | {"messages": user(IMAGE)}, BLIND, known=lambda name: Description("A cat.", "a/b"))
    assert b"A cat." in described.body
    assert PNG.encode() not in described.body


def test_image_urls_by_rule() -> None:
    assert content(SEEN, Profile()) == [SEEN]
    (told,) = content(SEEN, Profile(media=MediaRules(image_urls=False)))
    assert told["text"].startswith("[image left out")


def test_documents_as_text() -> None:
    assert content(DOCUMENT, ANTHROPIC) == [DOCUMENT]
    (told,) = content(DOCUMENT, Profile())
    assert told["type"] == "text"
    assert "forty-two violins" in told["text"]
    assert "forty-two" in str(messages_of(result(DOCUMENT), Profile())[2])
    with pytest.raises(Rejection):
        content({"type": "document", "source": {"type": "url", "url": "https://example.invalid"}}, Profile())


def test_a_tool_reference_is_told_as_the_tool() -> None:
    history = result({"type": "tool_reference", "tool_name": "Late"}, {"type": "tool_reference", "tool_name": "None"})
    late = {**BASH, "name": "Late", "defer_loading": True}
    assert messages_of(history, tools=[late]) == history
    first, second = messages_of(history, Profile(), tools=[late])[2]["content"][0]["content"]
    assert first["text"].startswith('<functions>\n<function>{"name":"Late"')
    assert second["text"] == "Tool None not found"


def test_blocks_of_servers_are_told() -> None:
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
    history = [*user(text("hi")), {"role": "assistant", "content": [search, text("So.")]}, *user(text("go"))]
    assert messages_of(history) == history
    assert messages_of(history, Profile())[1]["content"][0] == text('[web_search {"query":"x"}]')


def test_what_nobody_knows_goes_to_those_who_take_everything() -> None:
    new = {"type": "of_2031", "x": 1}
    assert content(new, ANTHROPIC) == [new]
    assert content(new, Profile()) == [text("[of_2031 block left out: it cannot be carried to this model]")]
    assert EVERYTHING.takes_block("of_2031")
