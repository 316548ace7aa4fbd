"""JSON text with some of its values changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.wire.splice import items, members, splice, splice_items
from tests.strategies import TEXTS

SPACE = st.text(" \t\n\r", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXTS | st.sampled_from([1.5, -0.0, 1e300])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """A value as some writer would write it: any white space, strings escaped or not."""

    def gap() -> str:
        return draw(SPACE)

    match value:
        case dict():
            inner = [f"{gap()}{draw(written(key))}{gap()}:{gap()}{draw(written(v))}{gap()}" for key, v in value.items()]
            return "{" + (",".join(inner) or gap()) + "}"
        case list():
            return "[" + (",".join(f"{gap()}{draw(written(v))}{gap()}" for v in value) or gap()) + "]"
        case _:
            return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def documents(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[Any, bytes]:
    value = draw(values)
    return value, (draw(SPACE) + draw(written(value)) + draw(SPACE)).encode()


OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


@given(documents(OBJECTS))
def test_nothing_changed_is_the_same_text(document: tuple[Any, bytes]) -> None:
    value, text = document
    assert splice(text, {}) == text
    same = {key: bytes(raw) for key, raw in members(text).items()}
    assert splice(text, same) == text
    assert splice(text, {"not there": None}) == text or "not there" in value


@given(documents(OBJECTS), st.data())
def test_changed_members_are_what_json_reads(document: tuple[Any, bytes], data: st.DataObject) -> None:
    value, text = document
    keys = st.sampled_from(sorted(value)) | TEXTS if value else TEXTS
    changes = data.draw(st.dictionaries(keys, st.none() | VALUES.map(lambda v: json.dumps(v).encode()), max_size=4))
    expected = {key: v for key, v in value.items() if changes.get(key, b"") is not None}
    expected |= {key: json.loads(new) for key, new in changes.items() if new is not None}
    assert json.loads(splice(text, changes)) == expected


@given(documents(OBJECTS), st.data())
def test_values_that_are_not_changed_keep_their_bytes(document: tuple[Any, bytes], data: st.DataObject) -> None:
    value, text = document
    gone = data.draw(st.sets(st.sampled_from(sorted(value)))) if value else set()
    left = members(splice(text, dict.fromkeys(gone)))
    assert list(left) == [key for key in value if key not in gone]
    assert all(bytes(raw) == bytes(members(text)[key]) for key, raw in left.items())


@given(documents(st.lists(VALUES, max_size=5)), st.data())
def test_changed_items_are_what_json_reads(document: tuple[Any, bytes], data: st.DataObject) -> None:
    value, text = document
    places = st.integers(0, max(0, len(value) - 1))
    changes = data.draw(st.dictionaries(places, st.lists(VALUES, max_size=2), max_size=3)) if value else {}
    expected: list[Any] = []
    for index, item in enumerate(value):
        expected += changes.get(index, [item])
    out = splice_items(text, {index: [json.dumps(v).encode() for v in new] for index, new in changes.items()})
    assert json.loads(out) == expected
    assert splice_items(text, {}) == text
    assert splice_items(text, {index: [bytes(raw)] for index, raw in enumerate(items(text))}) == text


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        (b'{"model": "a",\n "x" : [1, 2]}', {"model": b'"b"'}, b'{"model": "b",\n "x" : [1, 2]}'),
        (b'{ "a":1 , "b":2 , "c":3 }', {"a": None}, b'{ "b":2 , "c":3 }'),
        (b'{ "a":1 , "b":2 , "c":3 }', {"c": None}, b'{ "a":1 , "b":2 }'),
        (b'{"a":1}', {"a": None}, b"{}"),
        (b"{ }", {"a": b"1"}, b'{"a":1 }'),
        (b'{"a":1}', {"b": b"2", "c": b"3"}, b'{"a":1,"b":2,"c":3}'),
        (b'{"a":1}', {"a": None, "b": b"2"}, b'{"b":2}'),
        (b'{"mo\\u0064el":"a"}', {"model": b'"b"'}, b'{"mo\\u0064el":"b"}'),
        (b'{"a":{"model":1},"model":2}', {"model": b"3"}, b'{"a":{"model":1},"model":3}'),
        (b'{"a":"\\"model\\":1","model":2}', {"model": b"3"}, b'{"a":"\\"model\\":1","model":3}'),
    ],
)
def test_only_what_is_said_changes(text: bytes, changes: dict[str, bytes | None], expected: bytes) -> None:
    assert splice(text, changes) == expected


@pytest.mark.parametrize(
    "text",
    [
        b'{"model":"a","x":1,"model":"b"}',
        b'{"model":"b","x":1,"model":"b"}',
        b'{"model":"bb","x":1,"model":"b"}',
        b'{"model":1,"x":1,"model":12}',
        b'{"x":1,"mode\\u006c":"a","model":"b"}',
    ],
)
def test_of_a_repeated_key_only_the_last_is_left(text: bytes) -> None:
    """Else a gateway and its upstream could read two different requests in one text."""
    out = splice(text, {"model": b'"mine"'})
    assert json.loads(out, object_pairs_hook=dict) == {"model": "mine", "x": 1}
    assert sum("model" in pair for pair in json.loads(out, object_pairs_hook=list)) == 1


def test_of_a_repeated_key_elsewhere_only_the_last_is_left_too() -> None:
    assert splice(b'{"a":1,"b":2,"a":3}', {"b": b"4"}) == b'{"a":3,"b":4}'
