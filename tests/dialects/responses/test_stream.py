"""The stream decoder of Responses: whatever of its events a server sends, nothing is lost and nothing said twice."""

from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from latimer.dialects.reader import Reader
from latimer.dialects.responses.stream import INCOMPLETE, StreamDecoder
from latimer.dialects.sealing import Sealed, unseal
from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, Signature, Start, ToolCall, check
from latimer.wire.responses import Response, StreamEvent
from tests.reading import ASKED, HIDDEN_READER, READER, ROUTE, TAG_READER

Json = dict[str, Any]
CREATED = {"type": "response.created", "response": {"id": "r", "model": "m"}}
COMPLETED = {"type": "response.completed", "response": {"status": "completed"}}


def decode(*events: Json, reader: Reader = READER, complete: bool = False) -> list[Event]:
    """The hub's events for these."""
    decoder = StreamDecoder(reader)
    out: list[Event] = []
    for event in events:
        out += decoder.decode(json.decode(json.encode(event), type=StreamEvent), event["type"])
    out += decoder.flush(complete=complete)
    check(out)
    return out


def whole(*output: Json, **fields: Any) -> list[Event]:
    decoder = StreamDecoder(READER)
    response = {"id": "r", "model": "m", "status": "completed", "output": output} | fields
    out = decoder.decode_whole(json.decode(json.encode(response), type=Response))
    check(out)
    return out


def said(events: list[Event]) -> list[tuple[str, str]]:
    """(kind, words) of each block."""
    found: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, BlockStart):
            found.append((type(event.block).__name__, ""))
        elif isinstance(event, Delta):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    return found


def calls(events: list[Event]) -> list[ToolCall]:
    return [event.block for event in events if isinstance(event, BlockStart) and isinstance(event.block, ToolCall)]


def signatures(events: list[Event]) -> list[Sealed | None]:
    return [unseal(event.data, ROUTE) for event in events if isinstance(event, Signature)]


def finish(events: list[Event]) -> Finish:
    assert isinstance(events[-1], Finish), events[-1]
    return events[-1]


def failure(events: list[Event]) -> Failure:
    assert isinstance(events[-1], Failure), events[-1]
    return events[-1]


def lost(events: list[Event]) -> list[tuple[str, str]]:
    return [(loss.field, loss.action) for loss in finish(events).losses if loss.field != "usage"]


def event(what: str, **fields: Any) -> Json:
    return {"type": f"response.{what}"} | fields


def added(item: Json, index: int | None = 0) -> Json:
    return event("output_item.added", item=item, output_index=index)


def done(item: Json, index: int | None = 0) -> Json:
    return event("output_item.done", item=item, output_index=index)


def delta(what: str, text: str, item_id: str | None = None, index: int | None = 0, **fields: Any) -> Json:
    return event(f"{what}.delta", delta=text, item_id=item_id, output_index=index, **fields)


def completed(*output: Json, status: str = "completed", **fields: Any) -> Json:
    return event("completed", response={"status": status, "output": output} | fields)


def message(text: str, id: str | None = "msg", **fields: Any) -> Json:
    return {"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]} | fields


def call(arguments: Any, call_id: str | None = "c", id: str | None = "fc", name: str | None = "f") -> Json:
    return {"type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments}


def reasoning(summary: list[str], encrypted: str | None = None, id: str = "rs", content: Any = None) -> Json:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    item = {"type": "reasoning", "id": id, "summary": parts, "encrypted_content": encrypted}
    return item | ({"content": [{"type": "reasoning_text", "text": text} for text in content]} if content else {})


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        [delta("output_text", "a", "msg"), delta("output_text", "b", "msg"), done(message("ab")), COMPLETED],
        [event("output_text.done", text="ab", item_id="msg", output_index=0), done(message("ab")), COMPLETED],
        [delta("output_text", "a", "msg"), event("output_text.done", text="ab", item_id="msg"), COMPLETED],
        [added(message("")), done(message("ab")), COMPLETED],
        [done(message("ab")), completed(message("ab"))],
        [completed(message("ab"))],
        [
            delta("output_text", "ab", "other each time 1"),
            done(message("ab", "other 2")),
            completed(message("ab", "3")),
        ],
        [delta("output_text", "a", index=None), delta("output_text", "b", index=None), completed(message("ab", None))],
        [delta("output_text", "ab", "msg", 7), done(message("ab"), 3), completed(message("ab"))],
    ],
)
def test_text_is_said_once_in_whatever_event_it_comes(events: list[Json]) -> None:
    for begin in ([], [CREATED], [CREATED, event("in_progress", response={"id": "r"}), {"type": "keepalive"}]):
        read = decode(*begin, *events)
        assert said(read) == [("Text", "ab")]
        assert finish(read).reason == "stop"


def test_two_messages_are_two_blocks() -> None:
    first, second = message("a", "m1"), message("b", "m2")
    streamed = [delta("output_text", "a", "m1"), done(first), delta("output_text", "b", "m2", 1), done(second, 1)]
    for read in (decode(*streamed, completed(first, second)), whole(first, second)):
        assert said(read) == [("Text", "a"), ("Text", "b")]


def test_the_parts_of_one_message_are_one_block() -> None:
    parts = [{"type": "output_text", "text": "a"}, {"type": "text", "text": "b"}]
    item = {"type": "message", "id": "msg", "content": parts}
    streamed = [delta("output_text", "a", "msg", content_index=0), delta("output_text", "b", "msg", content_index=1)]
    for read in (decode(*streamed, done(item), COMPLETED), whole(item), whole({"type": "message", "content": "ab"})):
        assert said(read) == [("Text", "ab")]


def test_where_the_end_says_otherwise_what_was_streamed_stands() -> None:
    assert said(decode(delta("output_text", " ab", "msg"), completed(message("ab")))) == [("Text", " ab")]


def test_text_that_goes_on_after_something_else() -> None:
    read = decode(
        delta("output_text", "a", "m"),
        added(call(""), 1),
        delta("output_text", "b", "m"),
        done(call("{}"), 1),
        COMPLETED,
    )
    assert said(read) == [("Text", "a"), ("ToolCall", "{}"), ("Text", "b")]


def test_the_start_names_the_answer() -> None:
    assert decode(CREATED, COMPLETED)[0] == Start("r", "m", decode(COMPLETED)[0].usage)  # type: ignore[union-attr]
    assert isinstance(whole()[0], Start)


def test_think_tags() -> None:
    events = [delta("output_text", "<think>h", "m"), delta("output_text", "m</think>\n\nyes", "m"), COMPLETED]
    read = decode(*events, reader=TAG_READER)
    assert said(read) == [("Reasoning", "hm"), ("Text", "yes")]
    assert signatures(read) == [Sealed(signatures(read)[0].route, "content")]  # type: ignore[union-attr]
    assert said(decode(*events)) == [("Text", "<think>hm</think>\n\nyes")]
    assert said(decode(delta("output_text", "<thi", "m"), COMPLETED, reader=TAG_READER)) == [("Text", "<thi")]
    hidden = decode(*events, reader=Reader(ASKED, "msg_1", {}, seal_text=True))
    assert signatures(hidden)[0].content == ["hm"]  # type: ignore[union-attr]


def test_a_think_tag_counts_only_where_the_answer_begins() -> None:
    after_a_call = [done(call("{}"), 0), delta("output_text", "<think>", "m", 1), COMPLETED]
    assert said(decode(*after_a_call, reader=TAG_READER)) == [("ToolCall", "{}"), ("Text", "<think>")]
    in_two_messages = [delta("output_text", " ", "m", 0), delta("output_text", "0", "n", 1), COMPLETED]
    assert said(decode(*in_two_messages, reader=TAG_READER)) == [("Text", " "), ("Text", "0")]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        [delta("refusal", "I ca", "m"), delta("refusal", "n't", "m"), COMPLETED],
        [event("refusal.done", refusal="I can't", item_id="m"), COMPLETED],
        [completed({"type": "message", "content": [{"type": "refusal", "refusal": "I can't"}]})],
    ],
)
def test_a_refusal_is_text_and_says_why(events: list[Json]) -> None:
    read = decode(*events)
    assert said(read) == [("Text", "I can't")]
    assert (finish(read).reason, finish(read).explanation) == ("content_filter", "I can't")


# --- reasoning -------------------------------------------------------------------------------------------------------


def test_what_is_encrypted_comes_from_the_finished_item() -> None:
    item = reasoning(["a", "b"], "whole")
    read = decode(
        added(reasoning([], "half")),
        delta("reasoning_summary_text", "a", "rs", summary_index=0),
        delta("reasoning_summary_text", "b", "rs", summary_index=1),
        added(message("", "m"), 1),
        delta("output_text", "hi", "m", 1),
        done(item),
        done(message("hi", "m"), 1),
        completed(item, message("hi", "m")),
    )
    assert said(read) == [("Reasoning", "a\n\nb"), ("Text", "hi")]
    [sealed] = signatures(read)
    assert sealed is not None
    assert (sealed.id, sealed.encrypted, sealed.summary) == ("rs", "whole", ["a", "b"])
    assert said(whole(item)) == [("Reasoning", "a\n\nb")]
    assert signatures(whole(item)) == [sealed]


def test_one_summary_is_not_sealed_since_it_is_shown() -> None:
    [sealed] = signatures(whole(reasoning(["a"], "x")))
    assert sealed is not None
    assert (sealed.summary, sealed.field) == (None, "summary")


def test_reasoning_that_only_the_provider_reads() -> None:
    read = decode(added(reasoning([])), done(reasoning([], "x")), completed(reasoning([], "x"), message("hi")))
    assert said(read) == [("Reasoning", ""), ("Text", "hi")]
    assert signatures(read)[0].encrypted == "x"  # type: ignore[union-attr]


def test_an_empty_item_is_no_block() -> None:
    assert said(decode(added(reasoning([])), done(reasoning([])), COMPLETED)) == []
    assert said(whole(reasoning([]), message(""))) == []


def test_reasoning_of_local_servers_is_shown_while_it_comes() -> None:
    """llama.cpp ends all its items at the very end, and encrypts nothing."""
    decoder = StreamDecoder(READER)
    events: list[Event] = []
    for one in (delta("reasoning_text", "hm", "rs", None), delta("output_text", "hi", "m", None)):
        events += decoder.decode(json.decode(json.encode(one), type=StreamEvent), one["type"])
    assert said(events) == [("Reasoning", "hm"), ("Text", "hi")]
    read = decode(
        delta("reasoning_text", "hm", "rs", None),
        delta("output_text", "hi", "m", None),
        done(reasoning([], "", content=["hm"]), None),
        done(message("hi", "m"), None),
        completed(reasoning([], "", content=["hm"]), message("hi", "m")),
    )
    assert said(read) == [("Reasoning", "hm"), ("Text", "hi")]
    assert [(sealed.field, sealed.id) for sealed in signatures(read) if sealed] == [("content", "rs")]


def test_of_two_lists_the_first_to_come_is_shown() -> None:
    read = whole(reasoning(["short"], content=["long"]))
    assert said(read) == [("Reasoning", "short")]
    assert signatures(read)[0].content == ["long"]  # type: ignore[union-attr]
    streamed = decode(
        delta("reasoning_text", "long", "rs"), done(reasoning(["short"], "x", content=["long"])), COMPLETED
    )
    assert said(streamed) == [("Reasoning", "long")]
    assert signatures(streamed)[0].summary == ["short"]  # type: ignore[union-attr]


def test_hidden_reasoning_is_sealed() -> None:
    read = decode(
        delta("reasoning_summary_text", "hm", "rs"), done(reasoning(["hm"], "x")), COMPLETED, reader=HIDDEN_READER
    )
    assert signatures(read)[0].summary == ["hm"]  # type: ignore[union-attr]


def test_what_is_encrypted_and_comes_late_gets_its_own_block() -> None:
    read = decode(
        delta("reasoning_summary_text", "hm", "rs"),
        delta("output_text", "hi", "m", 1),
        done(reasoning(["hm"], "late")),
        COMPLETED,
    )
    assert said(read) == [("Reasoning", "hm"), ("Text", "hi"), ("Reasoning", "")]
    first, second = signatures(read)
    assert first is not None
    assert second is not None
    assert (first.encrypted, second.encrypted, second.summary) == ("", "late", ["hm"])


def test_reasoning_that_goes_on_after_something_else() -> None:
    read = decode(
        delta("reasoning_text", "a", "rs"),
        delta("output_text", "hi", "m", 1),
        delta("reasoning_text", "b", "rs"),
        COMPLETED,
    )
    assert said(read) == [("Reasoning", "a"), ("Text", "hi"), ("Reasoning", "b")]
    assert [(sealed.id, sealed.content) for sealed in signatures(read) if sealed] == [("rs", None), ("", None)]


# --- calls -----------------------------------------------------------------------------------------------------------

ARGUMENTS = "function_call_arguments"
ONE = '{"a":1}'


@pytest.mark.parametrize(
    "events",
    [
        [added(call("")), delta(ARGUMENTS, '{"a":', "fc"), delta(ARGUMENTS, "1}", "fc"), done(call(ONE)), COMPLETED],
        [added(call("")), event(f"{ARGUMENTS}.done", arguments=ONE, item_id="fc"), COMPLETED],
        [delta(ARGUMENTS, ONE, "fc"), done(call(ONE)), completed(call(ONE))],
        [done(call(ONE)), COMPLETED],
        [completed(call({"a": 1}))],
        [added(call("", id=None)), delta(ARGUMENTS, ONE, "c", None), done(call(ONE, id=None), None), COMPLETED],
        [added(call("", name=None)), event(f"{ARGUMENTS}.done", arguments=ONE, name="f", item_id="fc"), COMPLETED],
        [added(call("")), delta(ARGUMENTS, ONE, "new"), done(call(ONE, id="newer")), completed(call(ONE))],
    ],
)
def test_a_call_is_made_once_in_whatever_event_it_comes(events: list[Json]) -> None:
    read = decode(*events)
    assert calls(read) == [ToolCall("c", "f")]
    assert [words.replace(" ", "") for _, words in said(read)] == ['{"a":1}']
    assert finish(read).reason == "tool_call"


def test_interleaved_calls_come_one_after_the_other() -> None:
    read = decode(
        added(call("", "a", "1"), 0),
        added(call("", "b", "2"), 1),
        delta(ARGUMENTS, '{"x"', "1", 0),
        delta(ARGUMENTS, '{"y"', "2", 1),
        delta(ARGUMENTS, ":1}", "1", 0),
        delta(ARGUMENTS, ":2}", "2", 1),
        done(call('{"y":2}', "b", "2"), 1),
        done(call('{"x":1}', "a", "1"), 0),
        completed(call('{"x":1}', "a", "1"), call('{"y":2}', "b", "2")),
    )
    assert [one.id for one in calls(read)] == ["a", "b"]
    assert said(read) == [("ToolCall", '{"x":1}'), ("ToolCall", '{"y":2}')]


def test_items_at_one_index_are_told_apart_by_their_ids() -> None:
    read = decode(
        added(call("", "a", "1")),
        delta(ARGUMENTS, "{}", "1"),
        done(call("{}", "a", "1")),
        added(call("", "b", "2")),
        delta(ARGUMENTS, '{"x":1}', "2"),
        done(call('{"x":1}', "b", "2")),
        completed(call("{}", "a", "1"), call('{"x":1}', "b", "2")),
    )
    assert said(read) == [("ToolCall", "{}"), ("ToolCall", '{"x":1}')]


@pytest.mark.parametrize("arguments", ["", None, "null", '"{}"'])
def test_arguments_that_are_none(arguments: Any) -> None:
    for read in (
        decode(added(call("")), done(call(arguments)), done(message("a"), 1), COMPLETED),
        whole(call(arguments)),
    ):
        assert said(read)[0] == ("ToolCall", "{}")


def test_ids_and_names_are_made_the_clients() -> None:
    reader = Reader(ASKED, "msg_1", {"f": "mcp__f"}, frozenset({"taken"}))
    items = [call("{}", "taken"), call("{}", "a|b", "2"), call("{}", None, "fc_1")]
    read = decode(completed(*items), reader=reader)
    first, second, third = calls(read)
    assert {one.name for one in calls(read)} == {"mcp__f"}
    assert first.id.startswith("toolu_")
    assert second.id.startswith("toolu_")
    assert third.id == "fc_1"
    assert calls(whole(call("{}") | {"namespace": "ns"}))[0].name == "ns__f"


def test_malformed_arguments_fail_the_answer_unless_they_are_to_be_mended() -> None:
    assert "malformed arguments" in failure(whole(call("{a"))).message
    raw = Reader(ASKED, "msg_1", {}, raw_arguments=True)
    assert said(decode(completed(call("{a")), reader=raw)) == [("ToolCall", "{a")]


def test_a_call_without_a_name_fails_the_answer() -> None:
    assert "without a name" in failure(whole(call("{}", name=None))).message


def test_a_call_that_the_limit_cut_stays_as_it_is() -> None:
    cut = call('{"a":"rm')
    end = completed(cut, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    read = decode(added(call("")), delta(ARGUMENTS, '{"a":"rm', "fc"), done(cut | {"status": "incomplete"}), end)
    assert said(read) == [("ToolCall", '{"a":"rm')]
    assert finish(read).reason == "length"


def test_a_custom_tools_text_becomes_an_object() -> None:
    item = {"type": "custom_tool_call", "id": "ct", "call_id": "c", "name": "f", "input": 'say "hi"'}
    streamed = [
        added(item | {"input": ""}),
        delta("custom_tool_call_input", "say ", "ct"),
        delta("custom_tool_call_input", '"hi"', "ct"),
        done(item),
        completed(item),
    ]
    expected = json.encode({"input": 'say "hi"'}).decode()
    for read in (decode(*streamed), decode(*streamed[:3], COMPLETED), whole(item)):
        assert said(read) == [("ToolCall", expected)]
    for read in (decode(*streamed), whole(item)):
        assert lost(read) == [("output.custom_tool_call.input", "approximated")]


def test_a_custom_tools_text_that_was_cut_is_not_run() -> None:
    item = {
        "type": "custom_tool_call",
        "id": "ct",
        "call_id": "c",
        "name": "f",
        "input": "rm -r",
        "status": "incomplete",
    }
    read = decode(done(item), completed(item, status="incomplete"))
    assert "__unparsedToolInput" in said(read)[0][1]


# --- other items -----------------------------------------------------------------------------------------------------


def test_items_and_parts_without_a_place_are_reported() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed"}
    odd = message("a", phase="commentary")
    odd["content"] += [{"type": "odd"}]
    odd["content"][0] |= {"annotations": [{"type": "url_citation"}], "logprobs": [{}]}
    for read in (decode(added(search), done(search), done(odd, 1), completed(search, odd)), whole(search, odd)):
        assert said(read) == [("Text", "a")]
        assert lost(read) == [
            ("output.web_search_call", "dropped"),
            ("output.message.annotations", "dropped"),
            ("output.message.logprobs", "dropped"),
            ("output.message.odd", "dropped"),
            ("output.message.phase", "dropped"),
        ]
    assert lost(decode(event("output_text.annotation.added"), COMPLETED)) == [("output.message.annotations", "dropped")]


def test_an_image_is_a_mark() -> None:
    image = {"type": "image_generation_call", "id": "ig", "result": "aGk="}
    for read in (
        decode(done(image), done(message("a"), 1), completed(image, message("a"))),
        whole(image, message("a")),
    ):
        assert said(read) == [("Text", "[image generated, which cannot be shown here]"), ("Text", "a")]
        assert lost(read) == [("output.image_generation_call", "approximated")]


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "reason"), [*INCOMPLETE.items(), ("odd", "length"), (None, "length")])
def test_why_an_answer_is_incomplete(word: str | None, reason: str) -> None:
    for kind in ("incomplete", "completed"):  # vLLM names every end `completed`
        end = event(kind, response={"status": "incomplete", "incomplete_details": {"reason": word}})
        read = decode(delta("output_text", "a", "m"), end)
        assert finish(read).reason == reason
        told = [("incomplete_details.reason", "approximated")]
        assert lost(read) == ([] if word in ("max_output_tokens", "content_filter") else told)


def test_the_limit_may_be_the_windows() -> None:
    reader = Reader(replace(ASKED, context_window=30), "msg_1", {})
    usage = {"input_tokens": 20, "output_tokens": 10}
    end = completed(status="incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=usage)
    assert finish(decode(end, reader=reader)).reason == "context_window"


def test_a_call_that_stops_at_the_limit_was_cut_by_it_whatever_the_server_says() -> None:
    """llama.cpp has no other word than completed. What is whole may be longer: thinking gets room of its own."""
    reader = Reader(replace(ASKED, max_tokens=10), "msg_1", {}, raw_arguments=True)
    for output, reason in ((9, "tool_call"), (10, "length")):
        end = completed(call('{"a":"rm'), usage={"input_tokens": 1, "output_tokens": output})
        read = decode(end, reader=reader)
        assert (said(read), finish(read).reason) == ([("ToolCall", '{"a":"rm')], reason)
        assert lost(read) == ([("status", "approximated")] if reason == "length" else [])
    full = {"input_tokens": 1, "output_tokens": 10}
    assert finish(decode(completed(call("{}"), usage=full), reader=reader)).reason == "tool_call"
    assert finish(decode(completed(message("a"), usage=full), reader=reader)).reason == "stop"


@pytest.mark.parametrize("status", ["in_progress", "queued", "odd", None])
def test_the_event_says_how_it_ended_where_the_status_does_not(status: str | None) -> None:
    for kind, reason in (("completed", "stop"), ("incomplete", "length")):
        assert finish(decode(event(kind, response={"status": status}))).reason == reason
    assert finish(decode(event("completed"))).reason == "stop"
    assert failure(decode(event("failed")))


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_an_answer_that_never_came(status: str) -> None:
    assert repr(status) in failure(whole(status=status)).message


@pytest.mark.parametrize(
    ("error", "type", "text"),
    [
        ({"code": "server_error", "message": "it broke"}, "api_error", "it broke"),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit_error", "slow down"),
        ({"code": "invalid_prompt", "message": "no"}, "invalid_request_error", "content filter"),
        (
            {"code": "context_length_exceeded", "message": "Your input exceeds the context window of this model."},
            "invalid_request_error",
            "prompt is too long",
        ),
        (None, "api_error", "no reason"),
    ],
)
def test_failures(error: Json | None, type: str, text: str) -> None:
    for read in (
        decode(event("failed", response={"status": "failed", "error": error})),
        decode(event("failed", response={"error": error})),
        whole(status="failed", error=error),
    ):
        assert failure(read).type == type
        assert text in failure(read).message


def test_nothing_is_said_after_the_end() -> None:
    decoder = StreamDecoder(READER)
    end = json.decode(json.encode(COMPLETED), type=StreamEvent)
    assert isinstance(decoder.decode(end, "response.completed")[-1], Finish)
    assert decoder.finished
    assert decoder.decode(end, "response.completed") == decoder.flush(complete=True) == []
    assert decoder.fail(Failure("api_error", "x")) == []


def test_an_end_that_nobody_told() -> None:
    """With its last event lost an answer is not complete, but a server that says `[DONE]` has said so."""
    said_a = delta("output_text", "a", "m")
    assert "ended before" in failure(decode(said_a)).message
    assert finish(decode(said_a, complete=True)).reason == "stop"
    assert failure(decode(complete=True))
    assert finish(decode(added(call("{}")), done(call("{}")), complete=True)).reason == "tool_call"


def test_usage_and_tier() -> None:
    usage = {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}
    read = finish(whole(usage=usage, service_tier="priority", moderation={"input": {}}))
    assert (read.usage.input_tokens, read.usage.cache_read_tokens, read.tier) == (9, 4, "priority")
    assert [loss.field for loss in read.losses] == ["moderation"]
    estimated = finish(whole(message("abcde")))
    assert (estimated.usage.input_tokens, estimated.usage.output_tokens) == (ASKED.input_estimate, 2)
    assert [loss.field for loss in estimated.losses] == ["usage"]


def test_every_block_is_closed_before_the_next_opens() -> None:
    read = decode(delta("output_text", "a", "m"), done(call("{}"), 1), COMPLETED)
    kinds = [type(one) for one in read if isinstance(one, BlockStart | BlockStop)]
    assert kinds == [BlockStart, BlockStop] * 2
