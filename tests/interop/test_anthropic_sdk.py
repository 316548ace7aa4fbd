"""The official `anthropic` SDK through Latimer: what a request becomes, and what a reply becomes."""

import base64
import json
from typing import Any

import pytest

from tests.interop.sdk import API_VERSION, CLOCK, MODEL, WEATHER, Sdk, assistant, result, use, user
from tests.scenarios import files
from tests.scenarios.replies import Call, Say
from tests.scenarios.rules import Rules

CHINESE = "你好世界。这个回答在字符中间被切开😀。"
PNG = base64.b64encode(files.png()).decode()
PDF = base64.b64encode(files.pdf("The cargo is forty-two violins")).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
LINKED: dict[str, Any] = {"type": "image", "source": {"type": "url", "url": "https://example.invalid/cat.png"}}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
THOUGHTS = Rules(message_keys=frozenset({"reasoning_content", "reasoning"}))

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


def test_the_sdk_speaks_the_version_this_run_is_about(sdk: Sdk) -> None:
    assert sdk.client.default_headers["anthropic-version"] == API_VERSION


@both_ways
def test_text(sdk: Sdk, streaming: bool) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 40}}
    sdk.upstream.play([Say("Hello there", usage=usage)])
    message = sdk.ask(streaming, system="Be brief.")
    assert [block.model_dump()["text"] for block in message.content] == ["Hello there"]
    assert (message.stop_reason, message.stop_sequence, message.model) == ("end_turn", None, MODEL)
    assert message.usage.input_tokens == 60
    assert message.usage.cache_read_input_tokens == 40
    assert message.usage.output_tokens == 5
    exchange = sdk.upstream.last
    assert exchange.said("system") == ["Be brief."]
    assert exchange.said("user") == ["hi"]
    assert exchange.body["max_tokens"] == 500


@both_ways
@pytest.mark.parametrize("size", [1, 3])
def test_characters_split_between_writes(sdk: Sdk, streaming: bool, size: int) -> None:
    call = Call("weather", {"city": "奥斯陆"})
    sdk.upstream.play(lambda exchange: exchange.render(Say(CHINESE, calls=(call,))).sliced(size))
    message = sdk.ask(streaming, tools=[WEATHER])
    text, tool = message.content
    assert text.model_dump()["text"] == CHINESE
    assert tool.model_dump()["input"] == {"city": "奥斯陆"}


@both_ways
def test_parallel_tools(sdk: Sdk, streaming: bool) -> None:
    calls = (Call("weather", {"city": "Oslo"}), Call("weather", {"city": "Rome"}), Call("clock"))
    sdk.upstream.play([Say("Let me see.", calls=calls)])
    message = sdk.ask(streaming, tools=[WEATHER, CLOCK])
    assert message.stop_reason == "tool_use"
    blocks = [block.model_dump() for block in message.content]
    assert [block["type"] for block in blocks] == ["text", "tool_use", "tool_use", "tool_use"]
    assert [block["input"] for block in blocks[1:]] == [{"city": "Oslo"}, {"city": "Rome"}, {}]
    assert [block["name"] for block in blocks[1:]] == ["weather", "weather", "clock"]
    ids = [block["id"] for block in blocks[1:]]
    assert len(set(ids)) == 3
    assert all(identity.replace("_", "").replace("-", "").isalnum() for identity in ids)
    assert sdk.upstream.last.tools["weather"]["parameters"] == WEATHER["input_schema"]


@both_ways
def test_parallel_tools_that_share_one_index(sdk: Sdk, streaming: bool) -> None:
    calls = (Call("weather", {"city": "Oslo"}), Call("clock"))
    sdk.upstream.play([Say(calls=calls, constant_index=True)])
    message = sdk.ask(streaming, tools=[WEATHER, CLOCK])
    assert [block.model_dump()["name"] for block in message.content] == ["weather", "clock"]


@both_ways
def test_a_tool_call_that_ends_with_stop_is_still_a_tool_call(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say(calls=(Call("clock"),), finish="stop")])
    assert sdk.ask(streaming, tools=[CLOCK]).stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "clock"}, {"tool_choice": {"type": "function", "function": {"name": "clock"}}}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
    ],
)
def test_tool_choice(sdk: Sdk, choice: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    sdk.upstream.play([Say("fine")])
    fields: dict[str, Any] = {"tool_choice": choice} if choice else {}
    sdk.ask(tools=[WEATHER, CLOCK], **fields)
    body = sdk.upstream.last.body
    found = {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body}
    assert found in (expected, {"tool_choice": "auto", **expected})


@both_ways
def test_one_call_at_most_if_that_was_asked(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say(calls=(Call("clock"), Call("weather", {"city": "Oslo"})))])
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    message = sdk.ask(streaming, tools=[WEATHER, CLOCK], tool_choice=choice)
    assert [block.model_dump()["name"] for block in message.content] == ["clock"]


def test_no_tools_is_no_tools(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    sdk.ask(tools=[])
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sdk.upstream.last.body)


@both_ways
def test_long_tool_names_come_back_as_they_were(sdk: Sdk, streaming: bool) -> None:
    names = [f"mcp__{'a-very-long-server-name' * 3}__{verb}" for verb in ("read", "write")]
    assert all(len(name) > 64 for name in names)
    tools = [{**CLOCK, "name": name} for name in names]
    sdk.upstream.play(lambda exchange: Say(calls=(Call(list(exchange.tools)[1]),)))
    history = [user("go"), assistant([use("toolu_1", names[0])]), user([result("toolu_1", "ok")])]
    message = sdk.ask(streaming, tools=tools, messages=history)
    assert message.content[0].model_dump()["name"] == names[1]
    turn = sdk.upstream.last.messages[1]
    assert turn["tool_calls"][0]["function"]["name"] == next(iter(sdk.upstream.last.tools))


def test_tool_results_of_every_form(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    contents: list[Any] = ["plain", [{"type": "text", "text": "block"}], None, "", [], [IMAGE], [DOCUMENT]]
    uses = [use(f"toolu_{i}", city=str(i)) for i in range(len(contents) + 1)]
    results = [result(f"toolu_{i}", content) for i, content in enumerate(contents)]
    results.append(result(f"toolu_{len(contents)}", "Exit code 1", is_error=True))
    sdk.ask(messages=[user("go"), assistant(uses), user([*results, {"type": "text", "text": "and?"}])], tools=[WEATHER])
    exchange = sdk.upstream.last
    told = exchange.results
    assert told[:2] == ["plain", "block"]
    assert all(told)
    assert told[-1].startswith("Error")
    assert "Exit code 1" in told[-1]
    assert sum(part["type"] == "image_url" for part in exchange.parts) == 1
    assert "forty-two violins" in exchange.text or any(part["type"] == "file" for part in exchange.parts)
    assert exchange.messages[-1]["role"] == "user"
    assert "and?" in exchange.said("user")[-1]


def test_tool_results_out_of_order_and_with_long_ids(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    first, second = "toolu_" + "a" * 54, "toolu_" + "b" * 54
    history = [
        user("go"),
        assistant([{"type": "text", "text": "Looking."}, use(first, city="Oslo"), use(second, city="Rome")]),
        user([result(second, "warm"), result(first, "cold")]),
    ]
    sdk.ask(messages=history, tools=[WEATHER])
    exchange = sdk.upstream.last
    calls = exchange.messages[1]["tool_calls"]
    answers = {
        message["tool_call_id"]: message["content"] for message in exchange.messages if message["role"] == "tool"
    }
    assert [answers[call["id"]] for call in calls] == ["cold", "warm"]
    assert exchange.messages[1]["content"] == "Looking."


def test_images_and_documents_of_the_user(sdk: Sdk) -> None:
    sdk.upstream.play([Say("A cat.")])
    sdk.ask(content=[{"type": "text", "text": "What is this?"}, IMAGE, LINKED, DOCUMENT])
    urls = [part["image_url"]["url"] for part in sdk.upstream.last.parts if part["type"] == "image_url"]
    assert urls == [f"data:image/png;base64,{PNG}", LINKED["source"]["url"]]
    files_sent = [part for part in sdk.upstream.last.parts if part["type"] == "file"]
    assert "forty-two violins" in sdk.upstream.last.text or files_sent


@both_ways
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_goes_back_where_it_came_from(sdk: Sdk, streaming: bool, field: str) -> None:
    say = Say("Oslo is cold.", calls=(Call("clock"),), reasoning="Let me think, 仔细想。", reasoning_field=field)
    sdk.upstream.play([say, Say("Done.")], rules=THOUGHTS)
    thinking = {"type": "adaptive"}
    message = sdk.ask(streaming, tools=[CLOCK], thinking=thinking)
    blocks = [block.model_dump() for block in message.content]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[0]["thinking"] == "Let me think, 仔细想。"
    assert blocks[0]["signature"]
    history = [user("hi"), assistant(message.content), user([result(blocks[2]["id"], "noon")])]
    sdk.ask(streaming, tools=[CLOCK], thinking=thinking, messages=history)
    assert sdk.upstream.last.messages[1][field] == "Let me think, 仔细想。"


@both_ways
def test_thinking_that_must_not_be_shown_still_goes_back(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say("Cold.", reasoning="A secret thought"), Say("Done.")], rules=THOUGHTS)
    thinking = {"type": "adaptive", "display": "omitted"}
    message = sdk.ask(streaming, thinking=thinking)
    assert message.content[0].model_dump()["thinking"] == ""
    assert "secret thought" not in message.model_dump_json()
    sdk.ask(streaming, thinking=thinking, messages=[user("hi"), assistant(message.content), user("more")])
    assert sdk.upstream.last.messages[1]["reasoning_content"] == "A secret thought"


@both_ways
def test_think_tags(sdk: Sdk, streaming: bool) -> None:
    sdk.upstream.play([Say("<think>Hm, tags.</think>\n\nHere it is.", piece=3)])
    message = sdk.ask(streaming)
    blocks = [block.model_dump() for block in message.content]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert blocks[0]["thinking"].strip() == "Hm, tags."
    assert blocks[1]["text"].strip() == "Here it is."


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "max_tokens": 2000}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 20000}, "max_tokens": 21000}, "high"),
    ],
)
def test_effort(sdk: Sdk, fields: dict[str, Any], effort: str) -> None:
    sdk.upstream.play([Say("fine")])
    sdk.ask(**fields)
    assert sdk.upstream.last.body["reasoning_effort"] == effort


@both_ways
def test_structured_output(sdk: Sdk, streaming: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    sdk.upstream.play([Say('{"city": "Oslo"}')])
    message = sdk.ask(streaming, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(message.content[0].model_dump()["text"]) == {"city": "Oslo"}
    form = sdk.upstream.last.body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == schema


@both_ways
@pytest.mark.parametrize("piece", [3, 200])
def test_stop_sequences(sdk: Sdk, streaming: bool, piece: int) -> None:
    sdk.upstream.play([Say("<block>no</block> and a tail that nobody wants", piece=piece)])
    message = sdk.ask(streaming, stop_sequences=["</block>", "never"])
    assert message.content[0].model_dump()["text"] == "<block>no"
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "</block>")


@both_ways
@pytest.mark.parametrize(
    ("finish", "expected"), [("length", "max_tokens"), ("stop", "end_turn"), ("content_filter", "refusal")]
)
def test_stop_reasons(sdk: Sdk, streaming: bool, finish: str, expected: str) -> None:
    sdk.upstream.play([Say("Some words", finish=finish)])
    assert sdk.ask(streaming).stop_reason == expected


def test_system_messages_stay_where_they_are(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    history = [
        user("go"),
        assistant([use("toolu_1", city="Oslo")]),
        user([result("toolu_1", "cold"), {"type": "text", "text": "well?"}]),
        {"role": "system", "content": [{"type": "text", "text": "Remember the milk."}]},
    ]
    sdk.ask(
        messages=history, tools=[WEATHER], system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    )
    roles = [message["role"] for message in sdk.upstream.last.messages]
    assert roles == ["system", "user", "assistant", "tool", "user", "system"]
    assert "One." in sdk.upstream.last.said("system")[0]
    assert "Two." in sdk.upstream.last.said("system")[0]
    assert sdk.upstream.last.said("system")[1] == "Remember the milk."


def test_deferred_tools_are_hidden_until_they_are_found(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine"), Say("fine")])
    tools = [{**CLOCK, "name": "ToolSearch"}, {**WEATHER, "defer_loading": True}, CLOCK]
    sdk.ask(tools=tools)
    assert list(sdk.upstream.last.tools) == ["ToolSearch", "clock"]
    found = result("toolu_1", [{"type": "tool_reference", "tool_name": "weather"}])
    history = [
        user("go"),
        assistant([use("toolu_1", "ToolSearch")]),
        user([found, {"type": "text", "text": "Tool loaded."}]),
    ]
    sdk.ask(tools=tools, messages=history)
    assert list(sdk.upstream.last.tools) == ["ToolSearch", "clock", "weather"]
    assert "weather" in sdk.upstream.last.results[0]


def test_private_data_stays_here(sdk: Sdk) -> None:
    sdk.upstream.play([Say("fine")])
    identity = {"device_id": "d" * 64, "account_uuid": "a-secret-account", "session_id": "s-1"}
    sdk.ask(
        metadata={"user_id": json.dumps(identity)},
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli;"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
    )
    raw = sdk.upstream.last.raw
    assert b"d" * 64 not in raw
    assert b"a-secret-account" not in raw
    assert sdk.upstream.last.said("system") == ["Be brief."]
