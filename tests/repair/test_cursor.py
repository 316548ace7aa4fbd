"""Reading a text that may go on: nothing is decided too early."""

import re

import pytest

from latimer.repair.cursor import Cursor, Mismatch, More


def cursor(text: str, *, final: bool = False) -> Cursor:
    return Cursor(text, 0, final=final)


def test_a_literal_that_may_still_come() -> None:
    assert cursor("<ab>").take("<ab>")
    assert not cursor("<b").take("<ab>")
    with pytest.raises(More):
        cursor("<a").take("<ab>")
    assert not cursor("<a", final=True).take("<ab>")
    with pytest.raises(Mismatch):
        cursor("x").expect("a", "b")


def test_until_says_what_it_waits_for() -> None:
    with pytest.raises(More) as raised:
        cursor("abc").until("</x>")
    assert raised.value.wanted == "</x>"
    with pytest.raises(Mismatch):
        cursor("abc", final=True).until("</x>")
    read = cursor("abc</x>d")
    assert (read.until("</x>"), read.at) == ("abc", 7)


def test_a_pattern_and_space_end_where_they_no_longer_go_on() -> None:
    with pytest.raises(More):
        cursor("abc").match(re.compile(r"\w+"))
    assert cursor("abc", final=True).match(re.compile(r"\w+")) == "abc"
    with pytest.raises(Mismatch):
        cursor("-").match(re.compile(r"\w+"))
    with pytest.raises(More):
        cursor("  ").space()


def test_json_ends_with_its_brackets() -> None:
    assert cursor('{"a": "}", "b": [{}]} and').json() == '{"a": "}", "b": [{}]}'
    with pytest.raises(More):
        cursor('{"a": [').json()
    with pytest.raises(More) as raised:
        cursor('{"a": "x').json()
    assert raised.value.wanted == '"'
    with pytest.raises(Mismatch):
        cursor('{"a": "x', final=True).json()


def test_an_end_mark_may_be_cut_where_everything_ends() -> None:
    for text in (" </x>", " </", "", " "):
        read = cursor(text, final=True)
        assert read.close("</x>")
        assert read.ended
    read = cursor(" a", final=True)
    assert not read.close("</x>")
    assert read.at == 0
    with pytest.raises(More):
        cursor("</").close("</x>")
