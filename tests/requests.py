"""Requests as clients send them, and worse; conversations as Claude Code grows them; marks to find out what became of
each value.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from latimer.dialects.sealing import Sealed, route_mark, seal
from latimer.profile import (
    CacheRules,
    MediaRules,
    MessageRules,
    Profile,
    ReasoningRules,
    RequestRules,
    ToolRules,
)
from tests.reading import ROUTE
from tests.scenarios import files
from tests.strategies import NAMES, OBJECTS, TEXTS, VALUES

PROFILES = {
    "default": Profile(),
    "openai": Profile(
        request=RequestRules(
            max_tokens_field="max_completion_tokens", user_id="safety_identifier", session_key="prompt_cache_key"
        ),
        tools=ToolRules(schema="openai", strict=True),
        messages=MessageRules(system_role="developer", content="parts", phase=True),
        media=MediaRules(pdf="file", tool_images="spec"),
    ),
    "local": Profile(
        request=RequestRules(top_k=True, json_schema="prompt"),
        reasoning=ReasoningRules(control="none", replay="never"),
        tools=ToolRules(choices=frozenset({"auto"}), parallel=False, drop_keywords=frozenset({"$schema", "pattern"})),
        messages=MessageRules(mid_system="tagged", merge_users=True, content="string_only", assistant_null="empty"),
        media=MediaRules(images=False),
    ),
    "marks": Profile(
        request=RequestRules(json_schema="json_object", max_output=1000),
        reasoning=ReasoningRules(control="thinking_type", budget_field="thinking_budget"),
        messages=MessageRules(prefill="native", assistant_null="omit"),
        media=MediaRules(tool_images="native"),
        cache=CacheRules(cache_control="pass"),
    ),
    "loops": Profile(
        reasoning=ReasoningRules(replay="tool_turns", control="enable_thinking"), tools=ToolRules(schema="gemini")
    ),
}

PNG = base64.b64encode(files.png()).decode()
PLAIN = base64.b64encode(b"plain").decode()
PDF = base64.b64encode(files.pdf("forty-two violins")).decode()
HALF = "\ud83d"
"""Half an emoji: JavaScript cuts strings there."""
WORDS = TEXTS | TEXTS.map(lambda text: text + HALF)
SAID = WORDS.map(lambda text: f"said {text}")
MARKED = st.fixed_dictionaries({"type": st.just("ephemeral")}, optional={"ttl": st.sampled_from(["5m", "1h"])})
UNKNOWN = st.dictionaries(NAMES.map(lambda name: f"new_{name}"), VALUES, max_size=1)
CITED = st.lists(st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": TEXTS}), max_size=1)
IDS = st.sampled_from(["toolu_1", "toolu_2", "call|3", "call " * 20, "", "ü"])
TOOL_NAMES = st.sampled_from(["Bash", "Read", "mcp__x__" + "y" * 80, "名", "with space", "late"])


def block(kind: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """A content block, now and then with a field of next year."""
    known = st.fixed_dictionaries({"type": st.just(kind), **required}, optional=optional or {})
    return st.tuples(known, UNKNOWN).map(lambda both: {**both[1], **both[0]})


def source(kind: str, **fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


MARK = {"cache_control": MARKED}
TEXT = block("text", {"text": WORDS}, {**MARK, "citations": CITED})
IMAGE = block(
    "image",
    {
        "source": source("base64", media_type=st.just("image/png"), data=st.just(PNG))
        | source("url", url=st.just("https://example.invalid/a.png"))
    },
    {**MARK, "transformations": st.just({"oversized_image": "error"})},
)
DOCUMENT = block(
    "document",
    {
        "source": source("base64", media_type=st.just("application/pdf"), data=st.just(PDF) | st.just("?"))
        | source("base64", media_type=st.just("text/plain"), data=st.just(PLAIN))
        | source("text", media_type=st.just("text/plain"), data=SAID)
        | source("content", content=SAID | st.lists(TEXT | IMAGE, max_size=2))
    },
    {**MARK, "title": WORDS, "context": WORDS, "citations": st.just({"enabled": True})},
)
SEARCH_RESULT = block(
    "search_result",
    {"content": st.lists(TEXT, max_size=2), "source": SAID, "title": SAID},
    {**MARK, "citations": st.just({"enabled": True})},
)
REFERENCE = block("tool_reference", {"tool_name": TOOL_NAMES}, MARK)
NEW_BLOCK = st.dictionaries(NAMES, VALUES, max_size=2).map(lambda more: {**more, "type": "next_year"})
SERVER_BLOCK = block("server_tool_use", {"id": IDS, "name": st.just("web_search"), "input": OBJECTS})
SIGNATURES = st.sampled_from(
    [
        "",
        "foreign",
        "ltm1.broken",
        seal(Sealed(route_mark("other/model"))),
        seal(Sealed(route_mark(ROUTE))),
        seal(Sealed(route_mark(ROUTE), "summary", id="rs_1", encrypted="gAAAA")),
    ]
)
THINKING = block("thinking", {"thinking": WORDS, "signature": SIGNATURES})
REDACTED = block("redacted_thinking", {"data": SAID})
TOOL_USE = block("tool_use", {"id": IDS, "name": TOOL_NAMES, "input": OBJECTS}, MARK)
TOOL_RESULT = block(
    "tool_result",
    {"tool_use_id": IDS},
    {
        "content": WORDS | st.lists(TEXT | IMAGE | DOCUMENT | SEARCH_RESULT | REFERENCE | NEW_BLOCK, max_size=3),
        "is_error": st.booleans(),
        **MARK,
    },
)
USER_BLOCKS = TEXT | IMAGE | DOCUMENT | SEARCH_RESULT | TOOL_RESULT | NEW_BLOCK
ASSISTANT_BLOCKS = TEXT | THINKING | REDACTED | TOOL_USE | SERVER_BLOCK | NEW_BLOCK


def message(role: str, blocks: st.SearchStrategy[Any], optional: dict[str, Any] | None = None) -> Any:
    content = WORDS | st.lists(blocks, max_size=4)
    known = st.fixed_dictionaries({"role": st.just(role), "content": content}, optional=optional or {})
    return st.tuples(known, UNKNOWN).map(lambda both: {**both[1], **both[0]})


EFFORTS = st.sampled_from(["low", "medium", "high", "xhigh", "max"])
MESSAGE = st.one_of(
    message("user", USER_BLOCKS),
    message("assistant", ASSISTANT_BLOCKS),
    message("system", TEXT, {"output_config": st.fixed_dictionaries({"effort": EFFORTS})}),
    message("critic", TEXT),
)
SCHEMA = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "$schema": st.just("https://json-schema.org/draft/2020-12/schema"),
        "properties": st.dictionaries(
            NAMES, st.fixed_dictionaries({"type": st.just("string")}, optional={"description": SAID, "pattern": SAID})
        ),
        "required": st.lists(NAMES, max_size=2),
        "additionalProperties": st.booleans(),
    },
)


ANTHROPICS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["bash_20250124", "text_editor_20250728"]), "name": st.just("a tool of Anthropic's")},
        optional={"max_characters": st.integers(1, 10**5), "strict": st.booleans(), **MARK},
    ),
    st.fixed_dictionaries(
        {"type": st.just("computer_20251124"), "display_width_px": st.just(1024), "display_height_px": st.just(768)},
        optional={"display_number": st.just(1), "enable_zoom": st.booleans(), "defer_loading": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["computer_toolset_20260801", "browser_toolset_20260801"])},
        optional={"configs": st.just({"zoom": {"enabled": False, "new": 1}, "fly": {"enabled": True}}), **MARK},
    ),
)


@st.composite
def tools(draw: st.DrawFn) -> list[Any]:
    """Tools with different names, some deferred, some only for code."""
    names = draw(st.lists(TOOL_NAMES, max_size=4, unique=True))
    rules = {
        "description": WORDS,
        "strict": st.booleans(),
        "defer_loading": st.booleans(),
        "eager_input_streaming": st.booleans(),
        "input_examples": st.lists(OBJECTS, max_size=2),
        "allowed_callers": st.sampled_from([["direct"], ["code_execution_20260521"]]),
        "type": st.sampled_from(["custom", None]),
        **MARK,
    }
    made = []
    for name in names:
        tool = draw(st.fixed_dictionaries({"name": st.just(name), "input_schema": SCHEMA}, optional=rules))
        made.append({**draw(UNKNOWN), **tool})
    return made + draw(st.lists(ANTHROPICS, max_size=1))


BILLING = "x-anthropic-billing-header: cc_version=2.1.330.f89; cc_entrypoint=cli;"
SYSTEM = WORDS | st.lists(
    TEXT | st.just({"type": "text", "text": BILLING, "cache_control": {"type": "ephemeral"}}), max_size=3
)
TOP_LEVEL = {
    "system": SYSTEM,
    "stream": st.booleans(),
    "stop_sequences": st.lists(SAID, max_size=2),
    "temperature": st.floats(0, 1),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(0, 99),
    "metadata": st.fixed_dictionaries({}, optional={"user_id": SAID, "new": VALUES}),
    "thinking": st.one_of(
        st.just({"type": "adaptive", "display": "omitted"}),
        st.just({"type": "disabled"}),
        st.just({"type": "between_tools", "new": 1}),
        st.fixed_dictionaries({"type": st.just("enabled"), "budget_tokens": st.integers(1024, 40000)}),
    ),
    "output_config": st.fixed_dictionaries(
        {},
        optional={
            "effort": EFFORTS,
            "task_budget": st.just({"type": "tokens", "total": 5}),
            "format": st.fixed_dictionaries({"type": st.just("json_schema"), "schema": SCHEMA}),
            "new": VALUES,
        },
    ),
    "service_tier": st.sampled_from(["auto", "standard_only"]),
    "speed": st.sampled_from(["standard", "fast"]),
    "cache_control": MARKED,
    "diagnostics": st.just({"previous_message_id": "msg_0"}),
    "context_management": st.just({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]})
    | st.just({"edits": [{"type": "clear_thinking_20251015"}, {"type": "next_year"}]})
    | st.just({"edits": [{"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 1}}]}),
    "fallbacks": st.just("default"),
    "fallback_credit_token": st.just({"token": "t", "mode": "best_effort"}),
    "safeguards": st.just([{"type": "dangerous_tool_use"}]),
    "user_profile_id": SAID,
    "workspace_id": SAID,
    "betas": st.just(["one"]),
    "container": st.just("c") | st.none(),
    "thread": st.just({"type": "create"}) | st.none(),
    "tool_choice": st.sampled_from(
        [
            {"type": "auto", "disable_parallel_tool_use": True},
            {"type": "any"},
            {"type": "none"},
            {"type": "tool", "name": "Bash", "new": 1},
        ]
    ),
    "new_top": VALUES,
}


@st.composite
def exchanges(draw: st.DrawFn) -> list[Any]:
    """Calls and, as they should be, their results in the next message."""
    made = draw(st.lists(TOOL_USE, min_size=1, max_size=2, unique_by=lambda call: call["id"]))
    results = [{**draw(TOOL_RESULT), "tool_use_id": call["id"]} for call in made]
    said = draw(st.lists(ASSISTANT_BLOCKS.filter(lambda one: one["type"] != "tool_use"), max_size=2))
    more = draw(st.lists(USER_BLOCKS.filter(lambda one: one["type"] != "tool_result"), max_size=2))
    return [{"role": "assistant", "content": said + made}, {"role": "user", "content": results + more}]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request with any of the fields, blocks and forms that there are, and some that there are not."""
    optional = draw(st.sets(st.sampled_from(sorted(TOP_LEVEL)), max_size=6))
    body = {"model": "claude-sonnet-5-5", "max_tokens": draw(st.integers(0, 10**6))}
    told = draw(st.lists(MESSAGE, min_size=1, max_size=4)) + draw(exchanges() | st.just([]))
    body["messages"] = [*told, {"role": "user", "content": "go on"}]
    body["tools"] = draw(tools())
    return marked_at_most(4, body | {name: draw(TOP_LEVEL[name]) for name in optional})


def marked_at_most(room: int, body: Any) -> Any:
    """The body without the cache marks that are too many; more than four are refused."""

    def thinned(value: Any) -> Any:
        nonlocal room
        if isinstance(value, list):
            return [thinned(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "cache_control" in value:
            room -= 1
        return {key: thinned(inner) for key, inner in value.items() if key != "cache_control" or room >= 0}

    return thinned(body)


def encoded(body: Any) -> bytes:
    """As JavaScript writes it: lone surrogates escaped."""
    return json.dumps(body).encode()


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """A copy with one value, somewhere, replaced by any other."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(VALUES | TEXT | SCHEMA)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = draw(altered(value[key]))
    return copy


# --- marks ----------------------------------------------------------------------------------------------------------

CONTROL = re.compile(
    r"(.*\.)?(type|role|media_type|effort|signature|keep|mode|speed|service_tier|display|allowed_callers\.\d+|"
    r"tool_use_id|tool_name)"
    r"|model|tools\.\d+\.name|tool_choice\.name|messages\.\d+\.content\.\d+\.(id|name)"
    r"|tools\.\d+\.input_schema\..*\.required\.\d+|tools\.\d+\.input_schema\.required\.\d+"
)
"""Values that are words of the protocol or refer to another value: another word there would be another request."""


def plant(value: Any, path: str, marks: dict[str, str]) -> Any:
    """A copy in which every value that is free to be anything has a mark of its own; `marks` tells their places."""
    if isinstance(value, dict):
        if value.get("type") == "text" and not value.get("text", "."):
            return value  # without words there is nothing that its marks and citations could belong to
        return {key: plant(inner, f"{path}.{key}" if path else key, marks) for key, inner in value.items()}
    if isinstance(value, list):
        return [plant(inner, f"{path}.{place}", marks) for place, inner in enumerate(value)]
    if CONTROL.fullmatch(path) or value is None or isinstance(value, bool) or value in ("", PDF, BILLING):
        return value
    number = f"7{len(marks):06}"
    mark = f"mark{number}z" if isinstance(value, str) else number
    marks[mark] = path
    if isinstance(value, str):
        return base64.b64encode(mark.encode()).decode() if value == PLAIN else mark + value
    return int(number) if isinstance(value, int) else float(f"0.{number}1")


def covers(field: str, path: str) -> bool:
    """Whether a loss at `field` tells of a value at `path`: it is there or around it; `*` stands for any index."""
    pattern = re.escape(field).replace(r"\*", r"\d+")
    return re.match(rf"{pattern}(\.|$)", path) is not None


# --- conversations --------------------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The requests of one session, each a turn longer, as Claude Code sends them: only the meaning stays the same."""
    history: list[dict[str, Any]] = [{"role": "user", "content": [_text(draw(SAID))]}]
    history += [{"role": "system", "content": [_text("environment")]}] * draw(st.booleans())
    base = [_tool(name, draw(SAID)) for name in ("Bash", "Read", "ToolSearch")]
    loaded: list[str] = []
    sent = []
    for turn in range(draw(st.integers(2, 5))):
        sent.append(_sent(draw, history, base, loaded))
        found = draw(st.none() | st.sampled_from(["Alpha", "Notebook", "Zoom"]))
        history += _turn(draw, turn, found)
        loaded += [found] if found and found not in loaded else []
    return sent


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _tool(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "description": description, "input_schema": {"type": "object", "properties": {}}}


def _turn(draw: st.DrawFn, turn: int, found: str | None) -> Iterator[dict[str, Any]]:
    """The model's message, the results of its calls and what else came with them."""
    said: list[dict[str, Any]] = []
    if draw(st.booleans()):
        said.append({"type": "thinking", "thinking": draw(SAID), "signature": draw(SIGNATURES)})
    said.append(_text(draw(SAID)))
    ids = [f"toolu_{turn}_{n}" for n in range(draw(st.integers(0, 2)) + bool(found))]
    said += [{"type": "tool_use", "id": call_id, "name": "Bash", "input": draw(OBJECTS)} for call_id in ids]
    yield {"role": "assistant", "content": said}
    results: list[dict[str, Any]] = []
    for place, call_id in enumerate(ids):
        content: Any = draw(SAID | st.lists(TEXT | IMAGE, max_size=2))
        if found and place == 0:
            content = [{"type": "tool_reference", "tool_name": found}]
        results.append({"type": "tool_result", "tool_use_id": call_id, "content": content})
    if not results or draw(st.booleans()):
        results.append(_text(draw(SAID)))
    yield {"role": "user", "content": results}
    if draw(st.booleans()):
        yield {"role": "system", "content": [_text(draw(SAID))]}


def _sent(draw: st.DrawFn, history: list[Any], base: list[Any], loaded: list[str]) -> dict[str, Any]:
    """One request: cache marks on the newest message only, single texts as string or block, loaded tools in order."""
    messages = []
    for place, told in enumerate(history):
        content = [dict(one) for one in told["content"]]
        if place == len(history) - 1:
            content[-1]["cache_control"] = {"type": "ephemeral"}
        elif len(content) == 1 and content[0]["type"] == "text" and draw(st.booleans()):
            content = content[0]["text"]
        messages.append({"role": told["role"], "content": content})
    billing = f"x-anthropic-billing-header: cc_version=2.1.330.{draw(st.integers(100, 999))};"
    prompt = _text("You are Claude Code.") | ({"cache_control": {"type": "ephemeral"}} if draw(st.booleans()) else {})
    late = [{**_tool(name, "found"), "defer_loading": True} for name in [*loaded, "DeferredToolPlaceholder"]]
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 32000,
        "system": [_text(billing), prompt],
        "messages": messages,
        "tools": sorted([*base, *late], key=lambda tool: tool["name"]),
    }
