"""Forms of calls, read from their opener; all of them through the stage in `test_written_calls.py`."""

import pytest

from latimer.repair.cursor import Cursor, Mismatch, More
from latimer.repair.markers import OPENERS, Written, begins, is_unmarked, opener_of, read
from tests.repair.written import ARGUMENTS, BODY, CALL, ONE_CALL, PROSE, TOOLS


@pytest.mark.parametrize("form", ONE_CALL)
def test_no_form_is_given_up_or_decided_before_its_end(form: str) -> None:
    text = ONE_CALL[form]
    assert [call.name for call in read(Cursor(text, 0, final=True), TOOLS)] == ["Bash"]
    for at in range(1, len(text)):
        if text[:at].rstrip().endswith(opener_of(text)) or len(text[:at]) > len(opener_of(text)):
            try:
                calls = read(Cursor(text[:at], 0, final=False), TOOLS)
            except More:
                continue
            assert calls == read(Cursor(text, 0, final=True), TOOLS)


def test_other_text_is_given_up_soon() -> None:
    """So that it is shown again: with the first word that no call has there."""
    for text in [
        "<tool_call> tag",
        "<tool_call>Bush",
        '<tool_call>{"b',
        '```json\n{"name": "x"',
        "<function=Ls",
        "[TOOL_CALLS]!",
    ]:
        with pytest.raises(Mismatch):
            read(Cursor(text, 0, final=False), TOOLS)


def test_openers() -> None:
    assert begins("a <tool_c", 2)
    assert not begins("a <toul", 2)
    assert {opener_of(opener + "x") for opener in OPENERS} == set(OPENERS)
    assert [is_unmarked(text) for text in ("```x", "{", "[1", "[TOOL_CALLS][")] == [True, True, True, False]


def test_arguments_stay_as_they_were_written() -> None:
    text = '<tool_call>{"name":"Bash","arguments":{ "command" : "x", "n":1.50}}</tool_call>'
    assert read(Cursor(text, 0, final=True), TOOLS) == [Written("Bash", '{ "command" : "x", "n":1.50}')]


def test_the_corpora_are_what_they_say() -> None:
    assert ARGUMENTS["timeout"] == 5
    assert BODY in CALL
    assert len(ONE_CALL) > 30
    assert len(PROSE) > 35
