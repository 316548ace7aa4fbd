# ruff: noqa: RUF001  # DeepSeek's marks have full-width bars
"""Calls written as text, in every form and every split; and text that is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.tools import upstream_name
from latimer.errors import Failure
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Usage,
    check,
)
from latimer.repair import markers, written_calls
from latimer.repair.cursor import Cursor
from latimer.repair.markers import Written
from latimer.repair.tools import Tools
from latimer.repair.written_calls import WRITTEN, WrittenCalls
from tests import reading, strategies
from tests.repair.written import (
    ARGUMENTS,
    BODY,
    CALL,
    FUNCTION,
    INVOKE,
    LONG_NAME,
    ONE_CALL,
    PROSE,
    TOOLS,
    WITHOUT_TEXT,
)

Said = str | tuple[str, dict[str, Any]]
LIST_JOBS = '<tool_call>\n{"name": "CronList", "arguments": {}}\n</tool_call>'


def stage() -> WrittenCalls:
    return WrittenCalls(TOOLS, lambda number: f"toolu_{number}")


def answer(parts: list[str], reason: FinishReason = "stop") -> list[Event]:
    return [Start("", ""), BlockStart(0, Text()), *(Delta(0, part) for part in parts), BlockStop(0), ending(reason)]


def ending(reason: FinishReason = "stop") -> Finish:
    return Finish(reason, Usage())


def passed(events: list[Event]) -> list[Event]:
    staged = stage()
    out = [each for event in events for each in staged.pass_on(event)]
    check(out)
    assert len(staged.repairs) == sum(isinstance(e, BlockStart) and isinstance(e.block, ToolCall) for e in out) - sum(
        isinstance(e, BlockStart) and isinstance(e.block, ToolCall) for e in events
    )
    return out


def said(events: list[Event]) -> list[Said]:
    """Texts, and calls with their arguments."""
    out: list[Said] = []
    for event in events:
        if isinstance(event, BlockStart):
            block, data = event.block, ""
        elif isinstance(event, Delta):
            data += event.data
        elif isinstance(event, BlockStop):
            out.append((block.name, json.loads(data)) if isinstance(block, ToolCall) else data)
    return out


def read(text: str, reason: FinishReason = "stop") -> list[Said]:
    """What is made of the text; the same in every split."""
    whole = passed(answer([text], reason))
    for size in (1, 7):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert reading.merged(passed(answer(pieces, reason))) == reading.merged(whole)
    for at in range(len(text)):
        assert reading.merged(passed(answer([text[:at], text[at:]], reason))) == reading.merged(whole), text[:at]
    return said(whole)


@pytest.mark.parametrize("form", ONE_CALL)
def test_every_form_is_read(form: str) -> None:
    assert read(ONE_CALL[form]) == [("Bash", ARGUMENTS)]
    assert read(f"I will look.\n\n{ONE_CALL[form]}") == ["I will look.\n\n", ("Bash", ARGUMENTS)]
    assert read(f"\n\n{ONE_CALL[form]}\n") == [("Bash", ARGUMENTS)]


@pytest.mark.parametrize("form", WITHOUT_TEXT)
def test_bare_json_is_read_when_it_is_all(form: str) -> None:
    assert read(WITHOUT_TEXT[form]) == [("Bash", ARGUMENTS)]
    assert read(f"So: {WITHOUT_TEXT[form]}") == [f"So: {WITHOUT_TEXT[form]}"]


@pytest.mark.parametrize("form", PROSE)
def test_prose_comes_out_as_it_went_in(form: str) -> None:
    assert read(PROSE[form]) == [PROSE[form]]
    assert read(PROSE[form], "length") == [PROSE[form]]


@pytest.mark.parametrize("form", [*ONE_CALL, *WITHOUT_TEXT])
def test_a_form_that_is_cut_is_no_call(form: str) -> None:
    """Unless what was cut is only its end mark."""
    text = (ONE_CALL | WITHOUT_TEXT)[form]
    for at in range(len(text)):
        assert said(passed(answer([text[:at]], "length"))) in ([text[:at]], [("Bash", ARGUMENTS)])


def test_several_calls() -> None:
    hermes = f"<tool_call>\n{CALL}\n</tool_call>\n{LIST_JOBS}"
    both = [("Bash", ARGUMENTS), ("CronList", {})]
    assert read(hermes) == both
    assert read(f'<function_calls>\n{INVOKE}\n<invoke name="CronList">\n</invoke>\n</function_calls>') == both
    assert read(f'[TOOL_CALLS][{CALL}, {{"name": "CronList", "arguments": {{}}}}]') == both
    assert read(f"{FUNCTION}\n<function=CronList>\n</function>") == both
    assert read("<tool_call>CronList</tool_call>") == [("CronList", {})]
    assert read(f'<|python_tag|>{CALL}; {{"name": "CronList", "parameters": {{}}}}') == both
    assert read(f"```json\n{CALL}\n```\n\n```json\n{CALL}\n```") == [("Bash", ARGUMENTS)] * 2


def test_text_between_and_behind_calls_stays() -> None:
    text = f"First.\n<tool_call>{CALL}</tool_call>\nThen.\n{LIST_JOBS}\nDone."
    assert read(text) == ["First.\n", ("Bash", ARGUMENTS), "\nThen.\n", ("CronList", {}), "\nDone."]


def test_values_are_typed_by_the_schema_only() -> None:
    def call(**values: str) -> list[Said]:
        parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
        return read(f"<function=Bash>\n{parameters}</function>")

    assert call(command="5", timeout="5", background="true", env='{"A": "1"}') == [
        ("Bash", {"command": "5", "timeout": 5, "background": True, "env": {"A": "1"}})
    ]
    assert call(command='{"a": 1}', timeout="soon", unknown="5") == [
        ("Bash", {"command": '{"a": 1}', "timeout": "soon", "unknown": "5"})
    ]


def test_values_keep_their_space_and_their_tags() -> None:
    content = "  <parameter=x>\n</parameter>\n\ttwo\n\n"
    path = "<parameter=file_path>\na\n</parameter>"
    text = f"<function=Write>\n{path}\n<parameter=content>\n{content}\n</parameter>\n</function>"
    assert read(text) == [("Write", {"file_path": "a", "content": content})]
    path = "<arg_key>file_path</arg_key>\n<arg_value>a</arg_value>"
    glm = f"<tool_call>Write\n{path}\n<arg_key>content</arg_key>\n<arg_value>x\n</arg_value>\n</tool_call>"
    assert read(glm) == [("Write", {"file_path": "a", "content": "x\n"})]


def test_a_call_may_hold_the_marks_of_one() -> None:
    inner = {"file_path": "a", "content": f"<tool_call>{CALL}</tool_call>\n```\n"}
    text = f"<tool_call>{json.dumps({'name': 'Write', 'arguments': inner})}</tool_call>"
    assert read(text) == [("Write", inner)]


def test_a_name_is_the_clients() -> None:
    for name in (LONG_NAME, upstream_name(LONG_NAME)):
        assert read(f'<tool_call>{{"name": "{name}", "arguments": {{"q": "x"}}}}</tool_call>') == [
            (LONG_NAME, {"q": "x"})
        ]


def test_what_quotes_do_not_add_up_is_read_up_to_the_end_mark() -> None:
    text = '<tool_call>{"name": "Bash", "arguments": {"command": "echo "hi""}}</tool_call>'
    assert read(text) == [("Bash", {"command": 'echo "hi"'})]


def test_ids_and_finish() -> None:
    out = passed(answer([f"<tool_call>{CALL}</tool_call>\n{LIST_JOBS}"]))
    assert [e.block.id for e in out if isinstance(e, BlockStart) and isinstance(e.block, ToolCall)] == [
        "toolu_0",
        "toolu_1",
    ]
    assert out[-1] == ending("tool_call")
    assert passed(answer([ONE_CALL["hermes"]], "length"))[-1] == ending("length")
    staged = stage()
    for event in answer([ONE_CALL["hermes"]]):
        staged.pass_on(event)
    assert [(loss.field, loss.why) for loss in staged.repairs] == [("content.0", WRITTEN)]


def test_a_server_that_makes_calls_is_trusted() -> None:
    """It may leave the model's words in the text too: run once, not twice."""
    text = ONE_CALL["hermes"]
    made: list[Event] = [BlockStart(1, ToolCall("c", "Bash")), Delta(1, BODY), BlockStop(1)]
    begun = answer([text])[:-1]
    assert said(passed([*begun, *made, ending("tool_call")])) == [text, ("Bash", ARGUMENTS)]
    later = [BlockStart(2, Text()), Delta(2, text), BlockStop(2)]
    assert said(passed([*answer(["a"])[:-1], *made, *later, ending("tool_call")])) == ["a", ("Bash", ARGUMENTS), text]


def test_blocks_behind_a_call_are_renumbered() -> None:
    thought: list[Event] = [BlockStart(1, Reasoning()), Delta(1, "hm"), BlockStop(1)]
    out = passed([*answer([f"a\n{ONE_CALL['hermes']}\nb"])[:-1], *thought, ending()])
    assert said(out) == ["a\n", ("Bash", ARGUMENTS), "\nb", "hm"]
    out = passed([*answer([f"{ONE_CALL['hermes']}\n"])[:-1], *thought, ending()])
    assert said(out) == [("Bash", ARGUMENTS), "hm"]


def test_unmarked_json_counts_only_at_the_end_of_the_answer() -> None:
    more: list[Event] = [BlockStart(1, Reasoning()), Delta(1, "hm"), BlockStop(1)]
    assert said(passed([*answer([CALL])[:-1], *more, ending()])) == [CALL, "hm"]


def test_reasoning_is_never_read() -> None:
    text = ONE_CALL["hermes"]
    out = passed([Start("", ""), BlockStart(0, Reasoning()), Delta(0, text), BlockStop(0), ending()])
    assert said(out) == [text]


def test_a_failure_shows_what_was_held_of_a_known_block_only() -> None:
    lost = Failure("api_error", "lost")
    start = [Start("", ""), BlockStart(0, Text())]
    assert passed([*start, Delta(0, "<tool_call>{"), lost]) == [Start("", ""), lost]
    known = passed([*start, Delta(0, "a <tool_call>{"), lost])
    assert [e.data for e in known if isinstance(e, Delta)] == ["a ", "<tool_call>{"]
    assert passed([*answer([ONE_CALL["hermes"]])[:-1], lost])[-1] == lost


def test_text_is_held_from_a_possible_opener_only() -> None:
    staged = stage()
    staged.pass_on(BlockStart(0, Text()))
    assert staged.pass_on(Delta(0, "A word, <b> and <tool")) == [BlockStart(0, Text()), Delta(0, "A word, <b> and ")]
    assert staged.pass_on(Delta(0, "s> ")) == []
    assert staged.pass_on(Delta(0, "and.")) == [Delta(0, "<tools> and.")]
    plain = Delta(0, "plain words")
    assert staged.pass_on(plain)[0] is plain


@given(
    st.data(),
    st.lists(st.sampled_from([*ONE_CALL.values(), *PROSE.values(), "\n", " ", "a", "`", "```\n", "<"]), max_size=4),
)
def test_any_split_of_any_mixture_gives_the_same(data: st.DataObject, parts: list[str]) -> None:
    text = "".join(parts)
    if text:
        split = data.draw(strategies.pieces(text)) if len(text) > 1 else [text]
        assert reading.merged(passed(answer(split))) == reading.merged(passed(answer([text])))


TAGS = ["<tool_call>", "</tool_call>", "<function=", "<invoke name=", "<parameter=", "<|tool_call_begin|>"]
MARKS = ["[TOOL_CALLS]", "<|python_tag|>", "<｜tool▁call▁begin｜>", "```", "~~~", "`", "json", "Bash", '"name"']
FRAGMENTS = st.sampled_from([*TAGS, *MARKS, *'<>{}[":, \nx'])


@given(st.lists(FRAGMENTS, min_size=1, max_size=12), st.data())
def test_any_text_without_a_call_passes_unchanged(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    split = data.draw(strategies.pieces(text)) if len(text) > 1 else [text]
    out = said(passed(answer(split)))
    if not any(isinstance(each, tuple) for each in out):
        assert out == [text]


@pytest.mark.parametrize(
    "unit",
    [
        '```json\n{"name":"Bash","arguments":',
        '<tool_call>{"name":"Bash","arguments":{"a":"b","c":[',
        "<function=Bash><parameter=command>",
        '<tool_call>{"name": "Nobody"}</tool_call>\n',
    ],
)
def test_what_is_read_in_vain_grows_with_the_text_and_not_with_its_square(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in characters that a reading could look at: time would depend on the machine."""
    read = 0

    def counting(cursor: Cursor, tools: Tools) -> list[Written]:
        nonlocal read
        try:
            return markers.read(cursor, tools)
        finally:
            read += max(cursor.reach, cursor.at)

    monkeypatch.setattr(written_calls, "read", counting)
    monkeypatch.setattr(written_calls, "MOST_IN_VAIN", 200_000)
    text = unit * (100_000 // len(unit))
    parts = [text[at : at + 7] for at in range(0, len(text), 7)]
    assert "".join(each for each in said(passed(answer(parts))) if isinstance(each, str)) == text
    assert read < 20 * len(text) + 200_000


def test_a_call_after_a_long_one_that_was_none_is_found() -> None:
    text = '<tool_call>{"name":"Bash","arguments":{"command":"' + "x y " * 2_000 + '"}, oh no</tool_call>\n'
    whole = f"{text}{ONE_CALL['hermes']}"
    for size in (1, 7, 5_000, len(whole)):
        events = passed(answer([whole[at : at + size] for at in range(0, len(whole), size)]))
        assert said(events)[-1] == ("Bash", ARGUMENTS)
