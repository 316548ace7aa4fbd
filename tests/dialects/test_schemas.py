"""Schemas in every provider's dialect: what it refuses is gone, and what fitted before fits still."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.schema_dialects import DIALECTS
from latimer.dialects.schemas import ANNOTATIONS, LISTS, MAPS, SINGLE, is_strict, shape
from latimer.errors import Rejection
from latimer.profile import SchemaDialect

Json = dict[str, Any]
every_dialect = pytest.mark.parametrize("dialect", get_args(SchemaDialect))

STRING = {"type": "string"}
NODE = {
    "type": "object",
    "properties": {"value": {"type": "number"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["value"],
}
CORPUS: dict[str, tuple[Json, list[Json]]] = {
    "empty": ({}, [{}, {"any": 1}]),
    "bare": ({"type": "object"}, [{}]),
    "zod": (
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991, "default": 10},
                "ratio": {"type": "number", "exclusiveMaximum": 1},
                "url": {"type": "string", "format": "uri"},
                "email": {"type": "string", "format": "email", "pattern": "^(?!\\.)[a-z.]+@[a-z.]+$"},
                "day": {"type": "string", "pattern": "^\\d{4}-\\d{2}$", "maxLength": 10000},
            },
            "required": ["limit"],
            "additionalProperties": False,
        },
        [{"limit": 1, "ratio": 0.5, "url": "https://example.org", "email": "a@b.c", "day": "2026-09"}],
    ),
    "pydantic": (
        {
            "type": "object",
            "title": "Args",
            "properties": {
                "user": {"allOf": [{"$ref": "#/$defs/User"}], "description": "Who"},
                "nick": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Nick"},
                "level": {"$ref": "#/$defs/Level", "description": "How much"},
            },
            "required": ["user"],
            "$defs": {
                "User": {"type": "object", "properties": {"name": STRING, "age": {"type": "integer"}}},
                "Level": {"enum": [1, 2, 3], "type": "integer", "title": "Level"},
            },
        },
        [{"user": {"name": "x", "age": 3}, "nick": None, "level": 2}, {"user": {}, "nick": "n"}],
    ),
    "recursive": (
        {"type": "object", "properties": {"list": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": NODE}},
        [{"list": {"value": 1, "next": {"value": 2.5, "next": None}}}],
    ),
    "refers to itself": (
        {"type": "object", "properties": {"name": STRING, "children": {"type": "array", "items": {"$ref": "#"}}}},
        [{"name": "a", "children": [{"name": "b", "children": []}]}],
    ),
    "discriminated": (
        {
            "type": "object",
            "properties": {
                "op": {
                    "oneOf": [
                        {"type": "object", "properties": {"kind": {"const": "a"}, "x": STRING}, "required": ["kind"]},
                        {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}},
                    ]
                }
            },
        },
        [{"op": {"kind": "a", "x": ""}}, {"op": {"kind": "b", "y": 1}}],
    ),
    "union at the root": (
        {
            "type": "object",
            "description": "One of the variants.",
            "anyOf": [
                {"type": "object", "properties": {"kind": {"const": "file"}, "content": STRING}, "required": ["kind"]},
                {
                    "type": "object",
                    "properties": {"kind": {"const": "url"}, "url": STRING},
                    "required": ["kind", "url"],
                },
            ],
        },
        [{"kind": "file", "content": "x"}, {"kind": "url", "url": "y"}],
    ),
    "either is required": (
        {
            "type": "object",
            "anyOf": [{"properties": {"code": {}}, "required": ["code"]}, {"required": ["year"]}],
            "properties": {"code": STRING, "year": {"type": "integer"}},
            "required": [],
        },
        [{"code": "x"}, {"year": 2026}],
    ),
    "conditions": (
        {
            "type": "object",
            "properties": {"mode": {"enum": ["expand", "collect"]}, "expand": STRING},
            "allOf": [
                {"if": {"properties": {"mode": {"const": "expand"}}}, "then": {"required": ["expand"]}},
                {"if": {"properties": {"mode": {"const": "collect"}}}, "then": {"not": {"required": ["expand"]}}},
            ],
        },
        [{"mode": "expand", "expand": "x"}, {"mode": "collect"}],
    ),
    "untyped": (
        {
            "type": "object",
            "properties": {
                "view": {"enum": ["text", "raw"]},
                "flag": {"const": True},
                "any": {},
                "yes": True,
                "nested": {"properties": {"color": {"description": "hex"}}},
                "mixed": {"enum": ["auto", 1, 2.5, None, False]},
                "list": {"items": {"enum": ["a", "b"]}},
            },
        },
        [
            {"view": "raw", "flag": True, "any": {"x": [1]}, "yes": "y", "nested": {"color": "#fff"}, "mixed": "auto"},
            {"mixed": 1, "list": ["a"]},
            {"mixed": 2.5},
            {"mixed": False, "any": None},
        ],
    ),
    "lists of types": (
        {
            "type": "object",
            "properties": {
                "id": {"type": ["string", "integer"], "minLength": 1, "minimum": 1, "description": "An id"},
                "name": {"type": ["string", "null"], "enum": ["a", None]},
                "tags": {"type": ["array", "null"], "items": STRING},
                "one": {"type": ["boolean"]},
                "all": {"type": ["string", "object", "null"], "properties": {"x": STRING}},
            },
        },
        [
            {"id": "x", "name": None, "tags": ["t"], "one": True, "all": {"x": "y"}},
            {"id": 3, "tags": None, "all": None},
        ],
    ),
    "arrays": (
        {
            "type": "object",
            "properties": {
                "bare": {"type": "array"},
                "point": {"type": "array", "items": [{"type": "number"}, {"type": "number"}]},
                "pair": {"type": "array", "prefixItems": [STRING, {"type": "integer"}], "minItems": 2, "maxItems": 500},
                "set": {"type": "array", "items": STRING, "uniqueItems": True, "contains": {"minLength": 1}},
            },
        },
        [{"bare": [1, "x"], "point": [1, 2.5], "pair": ["a", 1], "set": ["a"]}],
    ),
    "maps": (
        {
            "type": "object",
            "properties": {
                "env": {"type": "object", "additionalProperties": STRING, "propertyNames": {"pattern": "^[A-Z]+$"}},
                "headers": {"type": "object", "patternProperties": {"^x-": STRING}},
            },
            "dependentRequired": {"env": ["headers"]},
        },
        [{"env": {"A": "b"}, "headers": {"x-a": "b"}}],
    ),
    "names that are keywords": (
        {
            "type": "object",
            "properties": {"$ref": STRING, "const": STRING, "type": {"enum": ["x"]}, "$id": STRING, "format": STRING},
            "required": ["$ref", "const"],
        },
        [{"$ref": "a", "const": "b", "type": "x", "$id": "c", "format": "d"}],
    ),
}
every_schema = pytest.mark.parametrize("name", sorted(CORPUS))


def shaped(schema: Json, dialect: SchemaDialect) -> Json:
    sent: Json = json.loads(shape(json.dumps(schema).encode(), dialect).raw)
    return sent


def nodes(schema: Any) -> Iterator[Json]:
    """Every schema in a schema."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        inner = value.values() if key in MAPS and isinstance(value, dict) else ()
        inner = value if key in LISTS or (key == "items" and isinstance(value, list)) else inner
        for each in [value] if key in SINGLE and isinstance(value, dict) else inner:
            yield from nodes(each)


def check_full(schema: Json) -> None:
    assert schema["type"] == "object"
    assert isinstance(schema["properties"], dict) or "anyOf" in schema


def check_flat(schema: Json) -> None:
    check_full(schema)
    assert not schema.keys() & {"anyOf", "oneOf", "allOf", "enum", "const", "not"}


def check_openai(schema: Json) -> None:
    check_flat(schema)
    for node in nodes(schema):
        assert isinstance(node.get("items", {}), dict)
        assert "array" not in str(node.get("type")) or "items" in node
        assert "(?" not in str(node.get("pattern"))


def check_inlined(schema: Json) -> None:
    check_full(schema)
    assert not any({"$ref", "$defs", "definitions"} & node.keys() for node in nodes(schema))


def check_grammar(schema: Json) -> None:
    check_full(schema)
    for node in nodes(schema):
        assert "pattern" not in node
        assert node.get("maxLength", 0) <= 100 >= node.get("maxItems", 0)


GEMINI = frozenset(
    {
        "type", "format", "title", "description", "nullable", "enum", "items", "properties", "required", "anyOf",
        "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum", "minLength", "maxLength",
        "pattern", "default", "propertyOrdering", "example",
    }
)  # fmt: skip
"""https://ai.google.dev/api/caching#Schema."""


def check_gemini(schema: Json) -> None:
    check_flat(schema)
    for node in nodes(schema):
        assert node.keys() <= GEMINI
        assert isinstance(node.get("type", ""), str)
        assert node.get("type") != "array" or isinstance(node["items"], dict)
        assert set(node.get("required", ())) <= set(node.get("properties", ()))
        assert "enum" not in node or node["type"] == "string"
        assert all(isinstance(value, str) and value for value in node.get("enum", ()))
        assert node.get("format", "date-time") == "date-time"


def check_mfjs(schema: Json) -> None:
    check_flat(schema)
    for node in nodes(schema):
        assert ("type" in node) != ("anyOf" in node)
        assert isinstance(node.get("type", ""), str)
        assert not node.keys() & {"oneOf", "allOf", "const", "$ref", "$defs", "if", "prefixItems"}
        assert len({type(value) for value in node.get("enum", ())}) <= 1
        assert all(isinstance(value, str | int | float) for value in node.get("enum", ()))


CHECKS = {
    "full": check_full,
    "openai": check_openai,
    "inlined": check_inlined,
    "grammar": check_grammar,
    "gemini": check_gemini,
    "mfjs": check_mfjs,
}


def nullable_said(schema: Any) -> Any:
    """OpenAPI's `nullable`, in JSON Schema's words."""
    if isinstance(schema, list):
        return [nullable_said(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: nullable_said(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("nullable") is True else inner


@every_dialect
@every_schema
def test_the_provider_takes_it(name: str, dialect: SchemaDialect) -> None:
    sent = shaped(CORPUS[name][0], dialect)
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(sent).replace('"items": [', '"prefixItems": [')))
    CHECKS[dialect](sent)


@every_dialect
@every_schema
def test_what_fitted_fits_still(name: str, dialect: SchemaDialect) -> None:
    schema, instances = CORPUS[name]
    sent = nullable_said(shaped(schema, dialect))
    for instance in instances:
        jsonschema.Draft7Validator(schema).validate(instance)
        jsonschema.Draft7Validator(sent).validate(instance)


@every_dialect
@every_schema
def test_a_second_time_changes_nothing_and_loses_nothing(name: str, dialect: SchemaDialect) -> None:
    once = shape(json.dumps(CORPUS[name][0]).encode(), dialect)
    again = shape(once.raw, dialect)
    assert (again.raw, again.lost) == (once.raw, ())


KEYWORDS = ["type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "items", "required", "properties", "not", "if"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["object", "string", "array", "#", "#/$defs/a", "a", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "$defs", "a"]), inner),
    max_leaves=12,
)


@every_dialect
@given(schema=st.dictionaries(st.sampled_from([*KEYWORDS, "$defs"]), VALUES))
def test_any_object_is_shaped(schema: Json, dialect: SchemaDialect) -> None:
    json.loads(shape(json.dumps(schema).encode(), dialect).raw)


def test_references_that_multiply_are_left_open_in_time() -> None:
    doubling = {f"n{n}": {"properties": {"a": {"$ref": f"#/$defs/n{n + 1}"}, "b": {"$ref": f"#/$defs/n{n + 1}"}}}
                for n in range(40)}  # fmt: skip
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/n0"}}, "$defs": doubling}
    result = shape(json.dumps(schema).encode(), "inlined")
    assert len(result.raw) < 2_000_000
    assert "$ref" in result.lost


@pytest.mark.parametrize(
    ("schema", "dialect", "lost"),
    [
        ({"properties": {"a": {"pattern": "^a"}, "b": {"pattern": "b"}}}, "grammar", ("pattern",)),
        ({"$schema": "x", "additionalProperties": False}, "gemini", ("additionalProperties",)),
        ({"properties": {"n": {"type": "integer", "exclusiveMinimum": 0}}}, "gemini", ()),
        ({"properties": {"n": {"type": "number", "exclusiveMinimum": 0}}}, "gemini", ("exclusiveMinimum",)),
        ({"properties": {"n": {"const": "x"}}}, "gemini", ()),
        ({"properties": {"n": {"enum": [1, 2]}}}, "gemini", ("enum",)),
        ({"properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "string"}}}, "inlined", ()),
        ({"properties": {"n": {"$ref": "https://example.org/n"}}}, "inlined", ("$ref",)),
        ({"properties": {"n": {"type": "integer", "maximum": 2**53 - 1}}}, "grammar", ("maximum",)),
        ({"properties": {"n": {"type": "integer", "maximum": 2**53 - 1}}}, "openai", ()),
    ],
)
def test_what_is_gone_is_named_once(schema: Json, dialect: SchemaDialect, lost: tuple[str, ...]) -> None:
    assert shape(json.dumps(schema).encode(), dialect).lost == lost


def test_a_schema_that_needs_nothing_keeps_its_bytes() -> None:
    raw = b'{ "type":"object", "properties":{}, "maximum":1e+22 }'
    assert all(shape(raw, dialect).raw is raw for dialect in ("full", "openai", "inlined"))


def test_the_users_own_keywords_are_dropped_too() -> None:
    raw = b'{"type":"object","properties":{"title":{"type":"string","title":"T"}},"title":"X"}'
    assert shape(raw, "full", ANNOTATIONS | {"title"}).raw == (
        b'{"type":"object","properties":{"title":{"type":"string"}}}'
    )


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"null", b"1", b"{"])
def test_only_an_object_is_a_schema(raw: bytes) -> None:
    with pytest.raises(Rejection, match="input_schema"):
        shape(raw)


CLOSED = {"type": "object", "properties": {"a": STRING}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "fit"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"a": {"oneOf": [STRING]}}}, False),
        ({"type": "array"}, False),
        (True, False),
    ],
)
def test_what_strict_mode_takes(schema: Any, fit: bool) -> None:
    assert is_strict(schema) is fit


def test_every_dialect_has_its_rules_and_its_check() -> None:
    assert DIALECTS.keys() == CHECKS.keys() == set(get_args(SchemaDialect))
