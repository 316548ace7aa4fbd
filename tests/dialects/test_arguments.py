"""Arguments of tool calls, as models write them."""

import pytest

from latimer.dialects.arguments import MalformedArguments, is_object, normalize


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", "{}"),
        (" \n", "{}"),
        ("null", "{}"),
        ('""', "{}"),
        ('{"a":1}', '{"a":1}'),
        (' {"a" : 1}\n', '{"a" : 1}'),
        ('{"n":12345678901234567890123,"f":1.10}', '{"n":12345678901234567890123,"f":1.10}'),
        (r'"{\"a\":1}"', '{"a":1}'),
        (r'"{\"a\":\"\\u00e9\"}"', r'{"a":"\u00e9"}'),
        ("[1,2]", '{"value":[1,2]}'),
        ("7", '{"value":7}'),
        ("true", '{"value":true}'),
        ('{"s":"\\ud83d"}', '{"s":"\\ufffd"}'),
        ('{"s":"\\ud83d\\ude00"}', '{"s":"\\ud83d\\ude00"}'),
    ],
)
def test_whatever_was_meant_becomes_an_object(written: str, read: str) -> None:
    assert normalize(written) == read


@pytest.mark.parametrize("written", ['{"a":', "ls -l", '{"a":1}{"b":2}', "{'a':1}", '"{\\"a\\":"', "{" * 5000])
def test_a_guess_is_never_run(written: str) -> None:
    with pytest.raises(MalformedArguments):
        normalize(written)


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ('{"a":1}', True),
        ('{"a":1} \n', True),
        ("{}", True),
        ("", False),
        ('{"a":{}', False),
        ('{"a":"}', False),
        ('{"a":"}"', False),
        ('{"a":1}}', False),
        ("[1]", False),
        ('"{}"', False),
    ],
)
def test_an_object_is_known_when_it_is_whole(written: str, whole: bool) -> None:
    assert is_object(written) == whole
