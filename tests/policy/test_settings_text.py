"""JSON files edited in place: what is changed is changed, and not a byte more."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latimer.errors import ConfigError
from latimer.policy.settings_text import BOM, Changes, checked, edited, same, value_at

TIDY = b"""{
  "model": "opus",
  "env": {
    "EDITOR": "vi"
  },
  "hooks": {}
}
"""


def test_members_are_added_in_the_files_own_style() -> None:
    after = edited(TIDY, {("env", "A"): b'"1"', ("env", "B"): b'"2"', ("off",): b"true", ("per", "m", "w"): b"7"})
    assert (
        after.decode()
        == """{
  "model": "opus",
  "env": {
    "EDITOR": "vi",
    "A": "1",
    "B": "2"
  },
  "hooks": {},
  "off": true,
  "per": {
    "m": {
      "w": 7
    }
  }
}
"""
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b'{\n  "env": {\n    "A": "1"\n  }\n}\n'),
        (BOM, BOM + b'{\n  "env": {\n    "A": "1"\n  }\n}\n'),
        (b"{}", b'{\n  "env": {\n    "A": "1"\n  }\n}'),
        (b'{"x":1}', b'{"x":1, "env": {"A": "1"}}'),
        (BOM + b'{"x":1}\n', BOM + b'{"x":1, "env": {"A": "1"}}\n'),
        (b'{\r\n\t"x": 1\r\n}\r\n', b'{\r\n\t"x": 1,\r\n\t"env": {\r\n\t\t"A": "1"\r\n\t}\r\n}\r\n'),
        (b'\n{\n    "x": 1\n}', b'\n{\n    "x": 1,\n    "env": {\n        "A": "1"\n    }\n}'),
        (b'{"env": {"A": "0", "Z" : "9"} }', b'{"env": {"A": "1", "Z" : "9"} }'),
        (b'{"env": "no object"}', b'{"env": {"A": "1"}}'),
    ],
)
def test_styles(before: bytes, after: bytes) -> None:
    assert edited(before, {("env", "A"): b'"1"'}) == after
    assert json.loads(after.decode("utf-8-sig"))["env"]["A"] == "1"


def test_members_are_taken_out_with_the_objects_that_they_leave_empty() -> None:
    assert edited(TIDY, {("env", "EDITOR"): None, ("model",): None}) == b'{\n  "hooks": {}\n}\n'
    assert edited(b'{"a": {"b": {"c": 1}}}', {("a", "b", "c"): None}) == b"{}"
    assert edited(TIDY, {("hooks", "x"): None, ("nothing", "there"): None}) == TIDY, "an empty object of theirs stays"


def test_values() -> None:
    assert value_at(TIDY, ("env", "EDITOR")) == b'"vi"'
    assert value_at(TIDY, ("env",)) == b'{\n    "EDITOR": "vi"\n  }'
    assert value_at(TIDY, ("model", "deeper")) is None
    assert value_at(b"", ("model",)) is None
    assert same(b'{"a":1}', b'{ "a": 1 }')
    assert not same(None, b"null")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{\n  "a": 1,\n  // why\n}', "line 3, column 3: "),
        (b'{"a": 1,}', "line 1, column 9: "),
        (b'\n\n  {"a" 1}', "line 3, column 8: "),
        (b'{\n  "a": tru\n}', "line 2, column 8: "),
        (b"[1]", "holds no JSON object"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": NaN}', "cannot be edited"),
    ],
)
def test_files_that_claude_code_ignores_are_refused(text: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=r"my\.json") as caught:
        checked(text, "my.json")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", [b"", b" \n", BOM, b"{}", BOM + TIDY])
def test_files_that_it_reads_are_not(text: bytes) -> None:
    checked(text, "my.json")


keys = st.sampled_from(["a", "b", "env", 'q"u\\o', "ö"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just([]) | st.just([1, {"a": 2}]),
    lambda inner: st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
documents = st.dictionaries(keys, trees, max_size=4)
paths = st.lists(keys, min_size=1, max_size=3).map(tuple)


def applied(document: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """What the file should mean, by the simplest means."""
    for path, value in changes.items():
        place = document
        for key in path[:-1]:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        assert value is not None
        place[path[-1]] = json.loads(value)
    return document


@settings(deadline=None)
@given(documents, st.sampled_from([None, 1, 4, "\t"]), st.dictionaries(paths, trees, max_size=3))
def test_any_file_means_what_it_should(document: dict[str, Any], indent: Any, wanted: dict[Any, Any]) -> None:
    changes = {path: json.dumps(value).encode() for path, value in wanted.items()}
    if any(one != other and other[: len(one)] == one for one in changes for other in changes):
        return  # a change below another one
    text = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    assert json.loads(edited(text, changes)) == applied(document, changes)


@settings(deadline=None)
@given(documents, st.sampled_from([None, 2, "\t"]), st.sampled_from(["", "\n", "\r\n"]), paths)
def test_what_was_added_and_taken_out_again_leaves_no_trace(
    document: dict[str, Any], indent: Any, end: str, path: tuple[str, ...]
) -> None:
    text = (json.dumps(document, indent=indent) + end).encode()
    place: Any = document
    for depth, key in enumerate(path):
        if not isinstance(place, dict) or (depth and place == {}):
            return  # what stands there would have to go, or is empty and goes too
        place = place.get(key, Nothing)
        if place is Nothing:
            break
    else:
        return
    if document:
        assert edited(edited(text, {path: b"1"}), {path: None}) == text


class Nothing:
    """No member of that name."""
