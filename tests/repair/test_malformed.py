"""Guesses about malformed JSON, and when they are believed."""

import pytest

from latimer.repair.malformed import MAX_CHARS, Malformed, mend, unfenced


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ("{'a': None, 'b': True}", {"a": None, "b": True}),
        ('[{"a": "x "}, {"b": "y\\n"},]', [{"a": "x "}, {"b": "y\n"}]),
        ('{"a": "", "b": \'\',}', {"a": "", "b": ""}),
        ('{"a": "b\nc",}', {"a": "b\nc"}),
        ("{“a”: “b”}", {"a": "b"}),
    ],
)
def test_what_is_believed(text: str, value: object) -> None:
    assert mend(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "b',
        '{"pa": 1, "```json\n{"pa": 1, "list": "[n\n{"paThunt":1&]"}\n```list": "[n\n{"paThunt":1&]"}',
        "{'a': 'b {c}",
        '{"a": 1 // note\n}',
        '{"a": }',
        "{a}",
        '{"a": {"b": 1}',
        "",
        "x",
        '{"a": [1, 2}',
        '{"a": "' + "x" * MAX_CHARS + '",}',
        "{" * 5000 + "}",
    ],
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(Malformed):
        mend(text)


def test_a_fence_is_taken_off_only_when_it_holds_everything() -> None:
    assert unfenced("```json\n{}\n```") == "{}"
    assert unfenced("``` {} ```") == "{}"
    assert unfenced("```json\n{}") == "```json\n{}"
    assert unfenced("a ```{}```") == "a ```{}```"
