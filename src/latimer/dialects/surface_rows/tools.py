"""Tools."""

# ruff: noqa: E501  # a table has one row on a line
from __future__ import annotations

from latimer.dialects.surface import Row

from .request import EACH

PLAN = "tests/server_tools/test_plan.py::test_functions_in_place_of_server_tools"
SOURCES = "tests/server_tools/test_context.py::test_sources"
FOUND = "tests/server_tools/test_plan.py::test_tool_search"

CLIENT = "tests/dialects/test_client_tools.py"
_OWN = "(custom|bash_*|text_editor_*|memory_*|computer_2*)"
_TOOLSET = "(computer|browser)_toolset_*"
_OFF = "(javascript_exec|file_upload|read_console|read_network)"

TOOLS: tuple[Row, ...] = (
    Row("tools.custom", "carried", "{function}", "tools-schema"),
    Row("tools.custom.name", "carried", "the name, or its beginning and a hash where it is too long", "tools-long-names"),
    Row("tools.custom.description", "carried", "`description`", "tools-schema"),
    Row("tools.custom.input_schema.*", "carried", "`parameters`, in the dialect of schemas that the provider takes", "tools-schema"),
    Row("tools.custom.input_schema.object", "met", "every schema is made an object", "tools-schema"),
    Row("tools.custom.eager_input_streaming=(true|false)", "met", "arguments stream while they are well-formed, whatever is asked", EACH),
    Row(f"tools.{_OWN}.allowed_callers=direct", "met", "every call is direct", EACH),
    Row(f"tools.{_OWN}.allowed_callers=code_execution_*", "dropped", "a tool that only code may call is not shown", EACH),
    Row(f"tools.{_OWN}.cache_control*", "dropped", "tools carry no cache marks here", EACH),
    Row(f"tools.{_OWN}.defer_loading=true", "emulated", "hidden until a search has found it", "tools-deferred"),
    Row(f"tools.{_OWN}.defer_loading=false", "met", "the default", EACH),
    Row(f"tools.{_OWN}.input_examples.*", "emulated", "part of the description", "tools-schema"),
    Row(f"tools.{_OWN}.strict=true", "dropped", "schemas are guidance; arguments are brought to their types here", EACH),
    Row(f"tools.{_OWN}.strict=false", "met", "the default", EACH),
    Row("tools.(bash_*|text_editor_*|memory_*|computer_2*)", "carried", "a function with the tool's own schema", CLIENT),
    Row("tools.(bash_*|text_editor_*|memory_*|computer_2*).name=*", "carried", "the function's name", CLIENT),
    Row("tools.computer_2*.(display_width_px|display_height_px|display_number)", "carried", "part of the description", CLIENT),
    Row("tools.computer_2*.enable_zoom=true", "carried", "`zoom` is one of the actions", CLIENT),
    Row("tools.computer_2*.enable_zoom=false", "met", "the default", CLIENT),
    Row("tools.text_editor_*.max_characters", "carried", "part of the description", CLIENT),
    Row(f"tools.{_TOOLSET}", "carried", "a function for each member that is enabled", CLIENT),
    Row(f"tools.{_TOOLSET}.cache_control*", "dropped", "tools carry no cache marks here", EACH),
    Row(f"tools.{_TOOLSET}.configs", "met", "empty, it changes nothing", EACH),
    Row(f"tools.{_TOOLSET}.configs.(*)", "met", "empty, it changes nothing", EACH),
    Row(f"tools.{_TOOLSET}.configs.*.enabled=false", "carried", "the member's function is not there", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.*.enabled=true", "met", "the default", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.{_OFF}.enabled=true", "carried", "the member's function is there", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.{_OFF}.enabled=false", "met", "the default of these", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.*.defer_loading=true", "emulated", "hidden until a search has found it", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.{_OFF}.defer_loading=true", "met", "these are not there unless they are enabled", CLIENT),
    Row(f"tools.{_TOOLSET}.configs.*.defer_loading=false", "met", "the default", CLIENT),
    Row("tools.web_search_*", "emulated", "run by Latimer with the configured backend", PLAN),
    Row("tools.web_search_*.user_location*", "approximated", "the country is passed to backends that take it", PLAN),
    Row("tools.web_fetch_*", "emulated", "run by Latimer where the configuration allows it", PLAN),
    Row("tools.web_fetch_*.url_sources*", "emulated", "compared with the conversation's own URLs", SOURCES),
    Row("tools.web_fetch_*.citations*", "emulated", "the model is asked to name its sources", PLAN),
    Row("tools.tool_search_tool_*", "emulated", "all tools at once, or a search that Latimer runs where they are too many", FOUND),
    Row("tools.code_execution_*", "rejected", "there is no sandbox here", EACH),
    Row("tools.mcp_toolset*", "rejected", "there is no MCP client here; configure the server in the client", EACH),
    Row("tools.advisor_20260301*", "rejected", "there is no adviser here", EACH),
)  # fmt: skip
