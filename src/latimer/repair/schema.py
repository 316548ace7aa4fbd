"""JSON Schema as far as it says what type a value has, and values brought to that type where only one reading is left.

A value that fits is never touched. One that does not is changed only if the result fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import json

from latimer.wire.json_text import UNREADABLE

Schema = dict[str, Any]

MAX_DEPTH = 32
"""Of references and of nesting: deeper, anything fits."""
MAX_STEPS = 20_000
"""Of one question, since a schema may refer to itself: then, too, anything fits."""
MAX_UNIONS = 4
"""Of unions in unions whose branches are tried."""
UNIONS = ("anyOf", "oneOf")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.0+)?")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?")
_WORDS = {"true": True, "false": False}
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class Parameters:
    """The schema of one tool's arguments. Without one, everything fits."""

    def __init__(self, schema: Any = None) -> None:
        self._root: Schema = schema if isinstance(schema, dict) else {}
        self._steps = 0
        self._top = self._resolved(self._root)
        properties = self._top.get("properties")
        self.properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        required = self._top.get("required")
        self.required: list[str] = (
            [key for key in required if isinstance(key, str)] if isinstance(required, list) else []
        )

    @classmethod
    def read(cls, raw: bytes) -> Parameters:
        """The parameters that a schema's JSON describes."""
        try:
            return cls(json.decode(raw))
        except UNREADABLE:
            return cls()

    def takes_text(self, key: str) -> bool:
        """Whether a string may stand under this key."""
        return self.fits(key, "")

    def fits(self, key: str, value: Any) -> bool:
        """Whether the value has a type that the key may have."""
        self._steps = 0
        return self._fits(value, self.properties.get(key))

    def coerced(self, key: str, value: Any) -> Any:
        """The value in a type that the key may have; as it is if it fits, or if nothing makes it fit."""
        self._steps = 0
        return self._coerced(value, self.properties.get(key))

    def default(self, key: str) -> tuple[Any] | None:
        """What the schema says for a key that is not given."""
        schema = self._resolved(self.properties.get(key))
        return (schema["default"],) if "default" in schema and self.fits(key, schema["default"]) else None

    # --- what a value may be -----------------------------------------------------------------------------------------

    def _resolved(self, schema: Any) -> Schema:
        """The schema that a local reference stands for; what cannot be read allows everything."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict) or not isinstance(reference := schema.get("$ref"), str):
                break
            schema = self._root
            for step in reference.removeprefix("#").split("/")[1:]:
                name = step.replace("~1", "/").replace("~0", "~")
                schema = schema.get(name) if isinstance(schema, dict) else None
        return schema if isinstance(schema, dict) else {}

    def _fits(self, value: Any, schema: Any, depth: int = 0) -> bool:
        schema = self._resolved(schema)
        self._steps += 1
        if depth > MAX_DEPTH or self._steps > MAX_STEPS or not schema:
            return True
        for union in UNIONS:
            branches = schema.get(union) or [{}]
            if isinstance(branches, list) and not any(self._fits(value, branch, depth + 1) for branch in branches):
                return False
        parts = schema.get("allOf")
        if isinstance(parts, list) and not all(self._fits(value, part, depth + 1) for part in parts):
            return False
        if not _has_type(value, schema):
            return False
        if isinstance(value, dict):
            return self._object_fits(value, schema, depth)
        items = schema.get("items")
        return not isinstance(value, list) or all(self._fits(item, items, depth + 1) for item in value)

    def _object_fits(self, value: dict[str, Any], schema: Schema, depth: int) -> bool:
        properties = schema.get("properties")
        if any(key not in value for key in _names(schema.get("required"))):
            return False
        if not isinstance(properties, dict):
            return True
        return all(self._fits(item, properties.get(key), depth + 1) for key, item in value.items())

    # --- bringing it there -------------------------------------------------------------------------------------------

    def _coerced(self, value: Any, schema: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH or self._fits(value, schema):
            return value
        for branch in self._branches(schema):
            for candidate in _candidates(value, branch):
                whole = self._mended(candidate, branch, depth)
                if self._fits(whole, schema):
                    return whole
        return value

    def _branches(self, schema: Any, depth: int = 0) -> Iterator[Schema]:
        """The alternatives of a union, and of unions in it."""
        schema = self._resolved(schema)
        unions = [branches for union in UNIONS if isinstance(branches := schema.get(union), list)]
        alternatives = [branch for branches in unions for branch in branches]
        if not alternatives or depth > MAX_UNIONS:
            yield schema
            return
        for branch in alternatives:
            yield from self._branches(branch, depth + 1)

    def _mended(self, value: Any, schema: Schema, depth: int) -> Any:
        """The same with what is inside brought to its types."""
        properties = schema.get("properties")
        if isinstance(value, dict) and isinstance(properties, dict):
            inner = {key: self._coerced(item, properties.get(key), depth + 1) for key, item in value.items()}
            return inner | self._defaults(inner, schema, properties)
        if isinstance(value, list):
            return [self._coerced(item, schema.get("items"), depth + 1) for item in value]
        return value

    def _defaults(self, value: dict[str, Any], schema: Schema, properties: dict[str, Any]) -> dict[str, Any]:
        missing = [key for key in _names(schema.get("required")) if key not in value]
        schemas = {key: self._resolved(properties.get(key)) for key in missing}
        return {key: schemas[key]["default"] for key in missing if "default" in schemas[key]}


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _types(schema: Schema) -> frozenset[str]:
    """The names of the types that are allowed; none for any."""
    given = schema.get("type")
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    known = frozenset(name for name in names if name in _KINDS)
    return known | {"null"} if known and schema.get("nullable") is True else known


def _has_type(value: Any, schema: Schema) -> bool:
    types = _types(schema)
    if isinstance(value, bool):
        return not types or "boolean" in types
    if isinstance(value, float) and value.is_integer() and "integer" in types:
        return True
    return not types or any(isinstance(value, _KINDS[name]) for name in types)


def _candidates(value: Any, schema: Schema) -> Iterator[Any]:
    """What the value may have meant, the likeliest first."""
    types = _types(schema)
    yield value
    if isinstance(value, str):
        yield from _readings(value, types)
    elif "string" in types and value is not None:
        yield json.encode(value).decode()
    if "array" in types and not isinstance(value, list) and value not in ("", None):
        yield [value]


def _readings(text: str, types: frozenset[str]) -> Iterator[Any]:
    """What a string may hold."""
    bare = text.strip()
    if "boolean" in types and bare.lower() in _WORDS:
        yield _WORDS[bare.lower()]
    if "integer" in types and _INTEGER.fullmatch(bare):
        yield int(bare.split(".")[0])
    if "number" in types and _NUMBER.fullmatch(bare):
        yield json.decode(bare)
    if types & {"array", "object"} and bare[:1] in ("[", "{"):
        try:
            yield json.decode(bare)
        except UNREADABLE:
            return
