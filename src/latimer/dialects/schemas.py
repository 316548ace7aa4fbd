"""JSON Schema in the parts of it that a provider takes as a function's parameters.

Every change loosens a schema or says the same in other words: what fitted it before fits it still. What was said and
could not be kept is named, once for each keyword.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from msgspec import Struct, json

from latimer.errors import invalid
from latimer.profile import SchemaDialect

from .schema_dialects import DIALECTS, Dialect

Schema = dict[str, Any]

ANNOTATIONS = frozenset({"$schema", "$id"})
"""Keywords that say nothing of the values; Claude Code has them in each of its tools, so none is worth a report."""
MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Keywords whose value maps names of the author's own to schemas."""
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SINGLE = frozenset(
    {
        "items", "additionalItems", "additionalProperties", "contains", "else", "if", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
DEFINITIONS = frozenset({"$defs", "definitions"})
SAFE = 2**53 - 1
"""JavaScript's largest whole number."""
MAX_NODES = 10_000
"""References may repeat each other without end; beyond this many schemas they are left open."""
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_TYPE_OF: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_KEYWORDS_OF: dict[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"}),
    "array": frozenset({"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"}),
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
}
_TYPES = ("string", "number", "boolean", "object", "array", "null")
_EXCLUSIVE = (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1))
_NOTES = frozenset({"title", "description", "default", "examples"})
"""Keywords that belong to the whole of a schema, not to one of its types."""


class Shaped(Struct, frozen=True):
    """A schema as it is sent, and the keywords that meant something and are gone."""

    raw: bytes
    lost: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def shape(raw: bytes, dialect: SchemaDialect = "full", drop: frozenset[str] = ANNOTATIONS) -> Shaped:
    """A schema that the provider takes as parameters: an object with properties, in its dialect, without `drop`.

    Remembered, since the same schemas come with every request of a session; unchanged, it stays the same bytes.
    """
    try:
        schema = json.decode(raw)
    except ValueError as error:
        raise invalid(f"tools: input_schema is not valid JSON: {error}") from error
    if not isinstance(schema, dict):
        raise invalid("tools: input_schema must be an object")
    shaper = _Shaper(schema, DIALECTS[dialect], drop)
    shaped = shaper.root()
    return Shaped(raw if shaped == schema else json.encode(shaped), tuple(sorted(shaper.lost - ANNOTATIONS)))


class _Shaper:
    """One schema on its way."""

    def __init__(self, schema: Schema, dialect: Dialect, drop: frozenset[str]) -> None:
        self.lost: set[str] = set()
        self._schema = schema
        self._dialect = dialect
        self._drop = drop | dialect.drop
        self._nodes = 0

    def root(self) -> Schema:
        schema = self._schema
        if self._dialect.flat_root:
            schema = self._flat(*self._resolved(schema, ()))
            for keyword in ("enum", "const", "not"):
                if schema.pop(keyword, None) is not None:
                    self.lost.add(keyword)
            schema["type"] = "object"
        shaped: Schema = self._node(schema, ())
        shaped.setdefault("type", "object")
        if shaped["type"] == "object":
            shaped.setdefault("properties", {})
        return shaped

    def _node(self, given: Any, seen: tuple[str, ...]) -> Any:
        """One schema. `seen` are the references on the way to it."""
        self._nodes += 1
        if not isinstance(given, dict):
            if self._dialect == DIALECTS["full"]:
                return given
            given = {}
        schema, seen = self._opened(given, seen)
        self._bound(schema)
        self._itemize(schema)
        self._enumerate(schema)
        schema = self._typed(self._split(schema), seen)
        return {
            key: self._inner(key, value, seen)
            for key, value in schema.items()
            if not (self._dialect.inline and key in DEFINITIONS)
        }

    def _opened(self, given: Schema, seen: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema itself, with nothing between it and its keywords."""
        schema = dict(given)
        while True:
            if self._dialect.inline:
                schema, seen = self._resolved(schema, seen)
            if self._dialect.merge_all_of:
                schema = self._merged(schema, seen)
            for keyword in self._drop & schema.keys():
                self._lose(schema, keyword)
            self._unify(schema)
            branches = schema.get("anyOf")
            if self._dialect.split_types != "nullable" or not isinstance(branches, list):
                return schema, seen
            others = [branch for branch in branches if branch != {"type": "null"}]
            if len(others) == len(branches):
                return schema, seen
            schema = schema | {"anyOf": others, "nullable": True}
            if len(others) != 1 or not isinstance(others[0], dict):
                return schema, seen
            del schema["anyOf"]
            self.lost |= others[0].keys() & schema.keys() - _NOTES
            schema = others[0] | schema

    def _inner(self, key: str, value: Any, seen: tuple[str, ...]) -> Any:
        if key in MAPS and isinstance(value, dict):
            return {name: self._node(inner, seen) for name, inner in value.items()}
        if key in LISTS and isinstance(value, list):
            return [self._node(inner, seen) for inner in value]
        if key == "items" and isinstance(value, list):
            return [self._node(inner, seen) for inner in value]
        return self._node(value, seen) if key in SINGLE and isinstance(value, dict) else value

    # --- references and unions ---------------------------------------------------------------------------------------

    def _resolved(self, given: Schema, seen: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema that a reference stands for, with what stands beside the reference."""
        schema = dict(given)
        while isinstance(reference := schema.get("$ref"), str):
            del schema["$ref"]
            target = self._target(reference)
            if target is None or reference in seen or self._nodes > MAX_NODES:
                self.lost.add("$ref")
                break
            schema = target | schema
            seen = (*seen, reference)
        return schema, seen

    def _target(self, reference: str) -> Schema | None:
        node: Any = self._schema
        if not reference.startswith("#"):
            return None
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else None

    def _merged(self, given: Schema, seen: tuple[str, ...]) -> Schema:
        """Without `allOf`: what its branches ask for besides each other, the first word on each matter counting."""
        merged = dict(given)
        for branch in _schemas(merged.pop("allOf", ())):
            inner, deeper = self._resolved(branch, seen)
            inner = self._merged(inner, deeper)
            properties = _mapping(inner, "properties") | _mapping(merged, "properties")
            required = [*_names(merged), *(name for name in _names(inner) if name not in _names(merged))]
            both = merged.keys() & inner.keys() - {"properties", "required", "$defs", *_NOTES}
            self.lost |= {key for key in both if merged[key] != inner[key]}
            merged = inner | merged
            merged |= {"properties": properties} if properties else {}
            merged |= {"required": required} if required else {}
        return merged

    def _flat(self, given: Schema, seen: tuple[str, ...] = ()) -> Schema:
        """Without unions: the properties of all branches, and what all branches require."""
        schema = self._merged(given, seen)
        for keyword in ("anyOf", "oneOf"):
            if keyword not in schema:
                continue
            self.lost.add(keyword)
            branches = [self._flat(*self._resolved(one, seen)) for one in _schemas(schema.pop(keyword))]
            properties: dict[str, Any] = {}
            for name, inner in (
                (name, inner) for one in branches for name, inner in _mapping(one, "properties").items()
            ):
                properties[name] = _either(properties[name], inner) if name in properties else inner
            properties |= _mapping(schema, "properties")
            common = set.intersection(*(set(_names(one)) for one in branches)) if branches else set()
            required = [*_names(schema), *sorted(common - set(_names(schema)))]
            schema |= {"properties": properties} if properties else {}
            schema |= {"required": required} if required else {}
        return schema

    def _unify(self, schema: Schema) -> None:
        if not self._dialect.one_union:
            return
        if not schema.get("anyOf", True):
            del schema["anyOf"]
        if "const" in schema:
            schema.setdefault("enum", [schema["const"]])
            del schema["const"]
        if "oneOf" in schema:
            branches = schema.pop("oneOf")
            if "anyOf" in schema:
                self.lost.add("oneOf")
            schema.setdefault("anyOf", branches)

    # --- what values may be ------------------------------------------------------------------------------------------

    def _bound(self, schema: Schema) -> None:
        dialect = self._dialect
        if dialect.inclusive:
            self._include(schema)
        for keyword in ("minimum", "maximum") if dialect.safe_bounds else ():
            if isinstance(schema.get(keyword), int | float) and abs(schema[keyword]) >= SAFE:
                self._lose(schema, keyword)
        if dialect.formats is not None and "format" in schema and schema["format"] not in list(dialect.formats):
            self._lose(schema, "format")
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and (
            dialect.patterns == "none" or (dialect.patterns == "no_lookaround" and _LOOKAROUND.search(pattern))
        ):
            self._lose(schema, "pattern")
        for keyword in ("minLength", "maxLength", "minItems", "maxItems") if dialect.max_repeat else ():
            if isinstance(schema.get(keyword), int | float) and schema[keyword] > dialect.max_repeat:
                self._lose(schema, keyword)

    def _include(self, schema: Schema) -> None:
        for exclusive, inclusive, step in _EXCLUSIVE:
            bound = schema.pop(exclusive, None)
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                self.lost |= {exclusive} if bound else set()
                continue
            whole = schema.get("type") == "integer" and isinstance(bound, int)
            if not whole:
                self.lost.add(exclusive)
            schema.setdefault(inclusive, bound + step if whole else bound)

    def _itemize(self, schema: Schema) -> None:
        if self._dialect.required_listed and "required" in schema:
            listed = [name for name in _names(schema) if name in _mapping(schema, "properties")]
            if listed != schema["required"]:
                self._lose(schema, "required")
                schema |= {"required": listed} if listed else {}
        for keyword in ("items", "prefixItems") if self._dialect.items != "any" else ():
            places = schema.get(keyword)
            if isinstance(places, list):
                self._lose(schema, keyword)
                schema["items"] = places[0] if len(places) == 1 else {"anyOf": places} if places else {}
        types = schema.get("type")
        if self._dialect.items == "required" and (types == "array" or (isinstance(types, list) and "array" in types)):
            schema.setdefault("items", {})

    def _enumerate(self, schema: Schema) -> None:
        values = schema.get("enum")
        if not isinstance(values, list) or self._dialect.enums == "any":
            return
        if "type" not in schema and "anyOf" not in schema:
            types = list(dict.fromkeys(_TYPE_OF[type(value)] for value in values))
            schema["type"] = types[0] if len(types) == 1 else types
        kinds = {type(value) for value in values}
        if self._dialect.enums == "scalars":
            refused = bool({bool, list, dict} & kinds)
        else:
            refused = bool(kinds - {str, type(None)}) or "" in values
        if refused:
            self._lose(schema, "enum")
        elif isinstance(schema.get("type"), str):
            schema["enum"] = [value for value in values if _fits(value, schema["type"])] or values

    def _split(self, schema: Schema) -> Schema:
        """A list of types as a union of schemas with one type each."""
        types = schema.get("type")
        if not isinstance(types, list) or self._dialect.split_types == "no":
            return schema
        kinds = [kind for kind in types if isinstance(kind, str)]
        del schema["type"]
        nullable = self._dialect.split_types == "nullable" and "null" in kinds and len(kinds) > 1
        more = {"nullable": True} if nullable else {}
        kinds = [kind for kind in kinds if not (nullable and kind == "null")]
        if "anyOf" in schema:
            self.lost.add("type")
            return schema | more
        if len(kinds) == 1:
            return _branch(schema, kinds[0]) | more
        notes = {key: value for key, value in schema.items() if key in _NOTES}
        rest = {key: value for key, value in schema.items() if key not in _NOTES}
        return notes | {"anyOf": [_branch(rest, kind) for kind in kinds]} | more

    def _typed(self, schema: Schema, seen: tuple[str, ...]) -> Schema:
        """With a type, or with one on each branch of the union, never on both."""
        if not self._dialect.typed:
            return schema
        branches = schema.get("anyOf")
        if not isinstance(branches, list):
            return schema if isinstance(schema.get("type"), str) else schema | _guess(schema)
        if "properties" in schema:
            return self._flat(schema, seen) | {"type": "object"}
        kind = schema.pop("type", None)
        if kind:
            schema["anyOf"] = [_with_type(branch, kind) for branch in branches]
        return schema

    def _lose(self, schema: Schema, keyword: str) -> None:
        del schema[keyword]
        self.lost.add(keyword)


def _mapping(schema: Schema, key: str) -> dict[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def _schemas(value: Any) -> list[Schema]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _names(schema: Schema) -> list[str]:
    value = schema.get("required")
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _either(one: Any, other: Any) -> Any:
    if one == other:
        return one
    known = one["anyOf"] if isinstance(one, dict) and one.keys() == {"anyOf"} else [one]
    return {"anyOf": known if other in known else [*known, other]}


def _fits(value: Any, kind: str) -> bool:
    return _TYPE_OF.get(type(value)) == kind or (kind == "number" and type(value) is int)


def _branch(rest: Schema, kind: str) -> Schema:
    """What is said of values of one type."""
    others = frozenset[str]().union(*(words for name, words in _KEYWORDS_OF.items() if name != _base(kind)))
    own = _KEYWORDS_OF.get(_base(kind), frozenset())
    branch = {"type": kind} | {key: value for key, value in rest.items() if key in own or key not in others}
    if isinstance(values := rest.get("enum"), list):
        branch["enum"] = [value for value in values if _fits(value, kind)] or values
    return {"type": "null"} if kind == "null" else branch


def _base(kind: str) -> str:
    return "number" if kind == "integer" else kind


def _with_type(branch: Any, kind: Any) -> Any:
    if not isinstance(branch, dict) or branch.keys() & {"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"}:
        return branch
    return {"type": kind} | branch


def _guess(schema: Schema) -> Schema:
    """The type of values that a schema without one is about; all types if it does not say."""
    if "properties" in schema or "additionalProperties" in schema:
        return {"type": "object"}
    if "items" in schema:
        return {"type": "array"}
    if schema.keys() & {"pattern", "minLength", "maxLength", "format"}:
        return {"type": "string"}
    if schema.keys() & {"minimum", "maximum", "multipleOf"}:
        return {"type": "number"}
    return {"anyOf": [{"type": kind} for kind in _TYPES]}


NOT_STRICT = frozenset(
    {
        "allOf", "contains", "dependentRequired", "dependentSchemas", "else", "if", "maxContains", "maxProperties",
        "minContains", "minProperties", "not", "oneOf", "patternProperties", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "minLength", "maxLength",
    }
)  # fmt: skip
"""Keywords that OpenAI's strict mode refuses: https://platform.openai.com/docs/guides/structured-outputs."""


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema as it is: closed objects, every property required."""
    return isinstance(schema, dict) and schema.get("type") == "object" and _strict_within(schema)


def _strict_within(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(_strict_within(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if NOT_STRICT & schema.keys():
        return False
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties or ()):
            return False
    return all(_strict_within(value) for value in schema.values())
