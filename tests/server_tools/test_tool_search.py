"""The search for tools: the best first, bounded, and never for ever."""

import time

import pytest
from msgspec import Raw, json

from latimer.server_tools.results import ToolFailure
from latimer.server_tools.tool_search import MAX_FOUND, search_tools
from latimer.wire.messages import Tool


def tool(name: str, description: str = "", deferred: bool = True, **parameters: str) -> Tool:
    properties = {key: {"type": "string", "description": value} for key, value in parameters.items()}
    schema = Raw(json.encode({"type": "object", "properties": properties}))
    return Tool(name=name, description=description, input_schema=schema, defer_loading=deferred)


TOOLS = [
    tool("get_weather", "The weather forecast of a city", city="Name of the city"),
    tool("sendEmail", "Send an e-mail to somebody", recipient="Address"),
    tool("list_files", "List the files of a directory", path="Directory"),
    tool("weather_now", "Already there", deferred=False),
    *(tool(f"filler_{n}", "Does something else entirely") for n in range(20)),
]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("weather forecast", "get_weather"),
        ("send email", "sendEmail"),
        ("directory", "list_files"),
        ("recipient address", "sendEmail"),
    ],
)
def test_words(query: str, first: str) -> None:
    assert search_tools(query, TOOLS, regex=False)[0] == first


def test_no_more_than_five_and_only_deferred_ones() -> None:
    assert len(search_tools("entirely else", TOOLS, regex=False)) == MAX_FOUND
    assert search_tools("weather", TOOLS, regex=False) == ["get_weather"]
    assert search_tools("zebra", TOOLS, regex=False) == []
    assert search_tools("", TOOLS, regex=False) == []
    assert search_tools("weather", [], regex=False) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("(?i)EMAIL", ["sendEmail"]),
        ("^get_.*", ["get_weather"]),
        ("weather|files", ["get_weather", "list_files"]),
        ("zzz", []),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    assert search_tools(pattern, TOOLS, regex=True) == found


@pytest.mark.parametrize("pattern", ["(", "(a+)+$", "(a|a)*$", "(a*)*", "a*a*a*a*$", "(.*){9}", "x" * 201, "[", "(?P<"])
def test_patterns_that_are_none_or_might_not_end(pattern: str) -> None:
    with pytest.raises(ToolFailure) as caught:
        search_tools(pattern, TOOLS, regex=True)
    assert caught.value.code == "invalid_tool_input"


def test_the_slowest_that_is_let_through() -> None:
    start = time.process_time()
    search_tools("a*a*a*b", [tool("a" * 1000, "a" * 5000) for _ in range(10)], regex=True)
    assert time.process_time() - start < 20


def test_broken_schemas() -> None:
    broken = [
        Tool(name="x", description="cat", input_schema=Raw(raw), defer_loading=True)
        for raw in (b"7", b"{", b'{"properties":7}')
    ]
    assert search_tools("cat", broken, regex=False)
