"""What providers take of JSON Schema, as data; `latimer.dialects.schemas` brings schemas into it.

After each the reports that it was learned from.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from latimer.profile import SchemaDialect


class Dialect(Struct, frozen=True):
    """What a provider takes."""

    drop: frozenset[str] = frozenset()
    """Keywords it does not know."""
    flat_root: bool = False
    """No union at the top."""
    inline: bool = False
    """No `$ref`."""
    merge_all_of: bool = False
    one_union: bool = False
    """`anyOf` only, and no `const`."""
    split_types: Literal["no", "any_of", "nullable"] = "no"
    """What becomes of a list of types."""
    typed: bool = False
    """A type on every schema, or on each branch of its union."""
    items: Literal["any", "uniform", "required"] = "any"
    """`uniform`: no tuples; `required`: each array says besides what is in it."""
    required_listed: bool = False
    """Only properties that are described may be required."""
    enums: Literal["any", "scalars", "strings"] = "any"
    inclusive: bool = False
    """No exclusive bounds."""
    safe_bounds: bool = False
    """No bounds of 53 bits and more, with which libraries mean none."""
    formats: frozenset[str] | None = None
    patterns: Literal["all", "no_lookaround", "none"] = "all"
    max_repeat: int = 0
    """Largest bound of a length that may be said, 0 for any."""


_LOGIC = frozenset(
    {
        "$anchor", "$comment", "$dynamicAnchor", "$dynamicRef", "$id", "$schema", "contains", "dependencies",
        "dependentRequired", "dependentSchemas", "else", "if", "maxContains", "minContains", "not",
        "patternProperties", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip

_UNKNOWN_TO_GEMINI = frozenset(
    {
        "additionalItems", "additionalProperties", "contentEncoding", "contentMediaType", "deprecated", "examples",
        "multipleOf", "readOnly", "uniqueItems", "writeOnly",
    }
)  # fmt: skip

DIALECTS: dict[SchemaDialect, Dialect] = {
    "full": Dialect(),
    # langchainjs#9804, docker/mcp-gateway#265, codefuturist/email-mcp#58
    "openai": Dialect(flat_root=True, items="required", patterns="no_lookaround"),
    "inlined": Dialect(inline=True),
    # llama.cpp turns every tool into one grammar: kubernetes-mcp-server#758, firecrawl#4512, rowboat#740
    "grammar": Dialect(patterns="none", max_repeat=100, safe_bounds=True),
    # gemini-cli#3178, thClaws#172, 9router#380
    "gemini": Dialect(
        drop=_LOGIC | _UNKNOWN_TO_GEMINI,
        flat_root=True,
        inline=True,
        merge_all_of=True,
        one_union=True,
        split_types="nullable",
        items="required",
        required_listed=True,
        enums="strings",
        inclusive=True,
        safe_bounds=True,
        formats=frozenset({"date-time", "double", "enum", "float", "int32", "int64"}),
    ),
    # MoonshotAI/walle docs/mfjs-spec.md, kimi-cli#2030, kimi-code#2661, pi#5822
    "mfjs": Dialect(
        drop=_LOGIC | {"additionalItems"},
        flat_root=True,
        inline=True,
        merge_all_of=True,
        one_union=True,
        split_types="any_of",
        typed=True,
        items="uniform",
        enums="scalars",
    ),
}
