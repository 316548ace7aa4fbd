"""Parsing a client's request: what is read, what is reported, what is refused and how."""

import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.dialects.messages.request import (
    NEW_VERSION,
    OLD_VERSION,
    Request,
    decode_count_request,
    decode_request,
    session_id,
)
from latimer.errors import Rejection
from latimer.report import Loss
from latimer.wire import messages as wire

BODY: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def parse(version: str = OLD_VERSION, **fields: Any) -> Request:
    return decode_request(json.dumps(BODY | fields).encode(), version)


def refusal(version: str = OLD_VERSION, **fields: Any) -> str:
    with pytest.raises(Rejection) as raised:
        parse(version, **fields)
    assert raised.value.failure.status == 400
    return raised.value.failure.message


def said(content: Any, role: str = "user", **fields: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **fields}]


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


def test_string_content_is_one_text_block() -> None:
    assert parse(messages=said("hi")).messages == parse(messages=said([text("hi")])).messages


def test_messages_know_their_places() -> None:
    request = parse(messages=said("a") + said([text("b"), text("c")], "assistant"))
    assert [message.role for message in request.messages] == ["user", "assistant"]
    assert request.messages[1].path(1) == "messages.1.content.1"


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.")]])
def test_the_system_prompt_as_string_or_blocks(system: Any) -> None:
    assert [block.text for block in parse(system=system).system] == ["Be brief."]


BILLING = "x-anthropic-billing-header: cc_version=2.1.330.f89; cc_entrypoint=cli;"


@pytest.mark.parametrize(
    ("system", "read"),
    [
        ([text(BILLING), text("Be brief.")], ["", "Be brief."]),
        (f"{BILLING}\n\nBe brief.", ["Be brief."]),
        ([text(f"{BILLING}\nBe brief.")], ["Be brief."]),
        ([text("Be brief."), text("You pay.")], ["Be brief.", "You pay."]),
        (BILLING, [""]),
    ],
)
def test_the_billing_line_is_not_read_and_moves_nothing(system: Any, read: list[str]) -> None:
    assert [block.text for block in parse(system=system).system] == read


def test_unknown_fields_are_told_with_their_paths() -> None:
    request = parse(
        new=1, messages=said([text("x", new=1)], new=2), metadata={"new": 1}, tools=[{"name": "t", "new": 1}]
    )
    assert [loss.field for loss in request.losses] == [
        "new",
        "messages.0.new",
        "messages.0.content.0.new",
        "tools.0.new",
        "metadata.new",
    ]


def test_an_unknown_role_is_a_user() -> None:
    request = parse(messages=said("x", "critic"))
    assert request.messages[0].role == "user"
    assert request.losses[0].field == "messages.0.role"


def test_half_an_emoji_is_mended() -> None:
    assert parse(messages=said("cut \ud83d")).messages[0].blocks == [wire.TextBlock("cut \ufffd")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model: "),
        ({"model": None}, "model: "),
        ({"max_tokens": -1}, "max_tokens: "),
        ({"max_tokens": "many"}, "max_tokens: Expected `int`, got `str`"),
        ({"messages": []}, "messages: at least one"),
        ({"messages": [5]}, "messages.0: Expected `object`, got `int`"),
        ({"messages": said(5)}, "messages.0.content: "),
        ({"messages": said([{"type": "text"}])}, "messages.0.content.0: Object missing required field `text`"),
        ({"tools": [{"name": 5}]}, "tools.0.name: "),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name: tool 'x' not found in tools"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: may only be specified while providing tools"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type: "),
        (
            {
                "output_format": {"type": "json_schema", "schema": {}},
                "output_config": {"format": {"type": "json_schema", "schema": {}}},
            },
            "output_format: cannot be given together",
        ),
    ],
)
def test_what_is_refused_names_the_field(fields: dict[str, Any], message: str) -> None:
    assert refusal(**fields).startswith(message)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"model": "\xff"}', b"null"])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Rejection, match="request body: "):
        decode_request(raw)


def test_invalid_utf8_in_a_subtree_that_stays_raw_is_refused() -> None:
    raw = json.dumps(BODY | {"tools": [{"name": "t", "input_schema": {"title": "?"}}]}).encode().replace(b"?", b"\xff")
    with pytest.raises(Rejection, match="not valid UTF-8"):
        decode_request(raw)


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_new_version_takes_no_sampling(name: str) -> None:
    assert parse(**{name: 1})
    assert refusal(NEW_VERSION, **{name: 1}).startswith(f"{name}: Extra inputs are not permitted")


def test_the_new_version_takes_no_documents_of_an_assistant_and_no_citations_of_a_user() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    theirs = said([document], "assistant") + said("go on")
    cited = said([text("x", citations=[{"type": "char_location"}])])
    assert parse(messages=theirs)
    assert parse(messages=cited)
    assert refusal(NEW_VERSION, messages=theirs).startswith("messages.0.content.0: document blocks")
    assert refusal(NEW_VERSION, messages=cited).startswith("messages.0.content.0.citations: ")
    assert parse(NEW_VERSION, messages=said([text("x", citations=[])]))


def test_an_unknown_version_is_refused() -> None:
    assert "anthropic-version" in refusal("2020-01-01")


def test_words_that_only_a_newer_client_knows_are_told() -> None:
    request = parse(thinking={"type": "dreaming"}, output_config={"effort": "extreme"})
    assert request.thinking
    assert request.thinking.type == "adaptive"
    assert request.effort is None
    assert [loss.field for loss in request.losses] == ["thinking.type", "output_config.effort"]


def test_a_message_may_set_the_effort_and_nothing_else() -> None:
    config = {"effort": "max", "format": {"type": "json_schema", "schema": {}}}
    request = parse(messages=said("x", "system", output_config=config) + said("hi"))
    assert request.messages[0].effort == "max"
    assert [loss.field for loss in request.losses] == ["messages.0.output_config.format"]


def test_what_the_answer_depends_on() -> None:
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {}}
    request = parse(
        messages=said([call], "assistant") + said("x"),
        thinking={"type": "adaptive", "display": "omitted"},
        tools=[{"name": "t"}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert (request.hides_thinking, request.one_call, request.tool_call_ids) == (True, True, frozenset({"a"}))
    assert (parse().hides_thinking, parse().one_call, parse().tool_call_ids) == (False, False, frozenset())


def test_counting_needs_no_max_tokens() -> None:
    raw = json.dumps({"model": "m", "messages": BODY["messages"]}).encode()
    assert decode_count_request(raw).messages
    with pytest.raises(Rejection, match="max_tokens"):
        decode_request(raw)


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        ('{"device_id":"d","account_uuid":"","session_id":"s"}', "s"),
        ("user_1", None),
        ("[]", None),
        ('{"session_id":5}', None),
        ("[" * 100_000, None),
        (None, None),
    ],
)
def test_the_session_in_claude_codes_user_id(user_id: str | None, session: str | None) -> None:
    assert session_id(user_id) == session


def test_losses_of_a_request_are_its_own() -> None:
    assert parse(new=1).losses == parse(new=1).losses == [Loss("new", "dropped", "Latimer does not know this field")]


def test_the_key_of_a_session_is_a_hash_that_tells_subagents_apart() -> None:
    named = parse(metadata={"user_id": '{"device_id":"d","session_id":"s"}'})
    key = named.session_key
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert replace(named, session="other").session_key == key, "the user id counts more than the header"
    assert replace(parse(), session="s").session_key == key
    assert replace(parse(metadata={"user_id": "u"}), session="s").session_key == key
    agents = {replace(named, agent=agent).session_key for agent in ("", "a", "b")}
    assert len(agents) == 3
    assert parse().session_key == replace(parse(), agent="a").session_key == ""


def test_whose_request_it_is() -> None:
    named = parse(metadata={"user_id": json.dumps({"session_id": "s"})})
    assert replace(named, agent="a", session="other").asker == "s"
    assert replace(parse(metadata={"user_id": "u"}), session="s").asker == "s"
    assert parse(metadata={"user_id": "u"}).asker == "u"
    assert parse().asker == ""


MARK = {"cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(("marks", "taken"), [(0, True), (2, True), (3, False)])
def test_more_than_four_cache_marks_are_refused(marks: int, taken: bool) -> None:
    fields = {
        **MARK,
        "tools": [{"name": "t", **MARK}],
        "messages": said([{"type": "text", "text": "x", **(MARK if place < marks else {})} for place in range(4)]),
    }
    if taken:
        parse(**fields)
        return
    with pytest.raises(Rejection, match=r"A maximum of 4 blocks with cache_control may be provided\. Found 5"):
        parse(**fields)


def changed(kind: str, **tool: Any) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


def defined(name: str, **more: Any) -> dict[str, Any]:
    return changed("tool_addition", type="tool_definition", definition={"name": name, **more})


def referred(kind: str, name: str) -> dict[str, Any]:
    return changed(kind, type="tool_reference", name=name)


@pytest.mark.parametrize(
    "changes",
    [
        [referred("tool_removal", "t"), referred("tool_addition", "t")],
        [defined("n"), referred("tool_removal", "n")],
        [defined("t", type="custom"), defined("t")],
        [defined("web_search", type="web_search_20250305")],
    ],
)
def test_tools_may_be_changed_in_mid_conversation(changes: list[Any]) -> None:
    parse(tools=[{"name": "t"}], messages=[*said("x"), *changes])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([referred("tool_addition", "n")], "tool_reference_unresolved"),
        ([referred("tool_removal", "n"), defined("n")], "tool_reference_unresolved"),
        ([changed("tool_addition", type="mcp_tool_reference", name="n", server_name="s")], "tool_reference_unresolved"),
        ([changed("tool_removal", type="tool_definition", definition={"name": "t"})], "tool_reference_unresolved"),
        ([defined("t", type="web_search_20250305")], "tool_name_conflict"),
        ([{"role": "system", "content": [{"type": "tool_addition"}]}], None),
    ],
)
def test_a_change_of_what_is_not_there_is_refused(changes: list[Any], code: str | None) -> None:
    with pytest.raises(Rejection) as raised:
        parse(tools=[{"name": "t"}], messages=[*said("x"), *changes])
    assert raised.value.failure.status == 400
    assert raised.value.failure.message.startswith("messages.1.content.0.tool")
    assert (raised.value.failure.details or {}).get("error_code") == code
