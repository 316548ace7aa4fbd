"""The search for deferred tools: BM25 over words, or a regular expression, as Anthropic's two variants have it.

https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/tool-search-tool.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec import json

from latimer.wire import messages as wire
from latimer.wire.json_text import UNREADABLE

from .results import ToolFailure

MAX_FOUND = 5
MAX_PATTERN = 200
K1, B = 1.2, 0.75
"""BM25's usual constants."""
_WORD = re.compile(r"[a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_REPEATED_GROUP = re.compile(r"\)\s*[*+{]")
MAX_REPEATS = 3
MAX_LINE = 300
"""Repeated groups, many repeats and long lines are what makes a regular expression search for ever."""


def search_tools(query: str, tools: Iterable[wire.Tool], *, regex: bool) -> list[str]:
    """Names of the deferred tools that fit best, at most five. Raises `ToolFailure`."""
    texts = {tool.name: _described(tool) for tool in tools if tool.defer_loading}
    if not regex:
        return _ranked(query, texts)
    if len(query) > MAX_PATTERN or _REPEATED_GROUP.search(query) or len(re.findall(r"[*+{]", query)) > MAX_REPEATS:
        raise ToolFailure("invalid_tool_input")
    try:
        pattern = re.compile(query)
    except (re.error, RecursionError, OverflowError):
        raise ToolFailure("invalid_tool_input") from None
    return [name for name, text in texts.items() if pattern.search(text)][:MAX_FOUND]


def _described(tool: wire.Tool) -> str:
    """Name, description, and names and descriptions of the parameters."""
    try:
        schema = json.decode(tool.input_schema)
    except UNREADABLE:
        schema = None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    parameters = properties.items() if isinstance(properties, dict) else ()
    told = "\n".join([tool.name, tool.description or "", *(f"{name} {_about(value)}" for name, value in parameters)])
    return "\n".join(line[:MAX_LINE] for line in told.splitlines())


def _about(schema: Any) -> str:
    return str(schema.get("description") or "") if isinstance(schema, dict) else ""


def _words(text: str) -> list[str]:
    return _WORD.findall(_HUMP.sub(" ", text).lower())


def _ranked(query: str, texts: dict[str, str]) -> list[str]:
    counts = {name: Counter(_words(text)) for name, text in texts.items()}
    lengths = {name: sum(count.values()) for name, count in counts.items()}
    average = sum(lengths.values()) / max(1, len(lengths))
    scores: dict[str, float] = {}
    for word in dict.fromkeys(_words(query)):
        holders = [name for name, count in counts.items() if word in count]
        weight = math.log(1 + (len(counts) - len(holders) + 0.5) / (len(holders) + 0.5))
        for name in holders:
            times = counts[name][word]
            damped = times * (K1 + 1) / (times + K1 * (1 - B + B * lengths[name] / average))
            scores[name] = scores.get(name, 0.0) + weight * damped
    return sorted(scores, key=lambda name: -scores[name])[:MAX_FOUND]
