"""The forms in which models write tool calls as text: what their own templates train them to, when no server reads it.

Each form begins with one of `OPENERS`. `read` says what is written there, or raises `Mismatch` as soon as it is certain
that it is no call of an advertised tool; `More` means that it still may be.

Templates: Hermes and Qwen (JSON), Qwen3-Coder (`function=`), GLM (`arg_key`), MiniMax and DeepSeek 3.2 (`invoke`),
Kimi K2 and DeepSeek 2 to 3.1 (special tokens), Llama 3 (`python_tag`), Mistral (`TOOL_CALLS`).
"""

from __future__ import annotations

import re

from msgspec import Raw, Struct, json

from latimer.wire.json_text import UNREADABLE, mend_surrogates

from .cursor import Cursor, Mismatch, More
from .malformed import Malformed, mend
from .tools import Tools

FENCE = "```"
DSML = "\uff5cDSML\uff5c"
"""The mark in DeepSeek's tags; its bars are full-width."""
WRAPPERS = ("tool_call", "function_call", "tools")
INVOKERS = ("function_calls", "minimax:tool_call", f"{DSML}function_calls", f"{DSML}tool_calls")
KIMI = "<|tool_call%s|>"
DEEPSEEK = "<\uff5ctool\u2581%s\uff5c>"
PYTHON = "<|python_tag|>"
MISTRAL = "[TOOL_CALLS]"
OPENERS = (
    *(f"<{name}>" for name in (*WRAPPERS, *INVOKERS)),
    "<function=",
    "<invoke name=",
    f"<{DSML}invoke name=",
    KIMI % "s_section_begin",
    KIMI % "_begin",
    DEEPSEEK % "calls\u2581begin",
    DEEPSEEK % "call\u2581begin",
    PYTHON,
    MISTRAL,
)
_NAME = re.compile(r"[^\s<>{}\[\]\"'`|\uff5c=,:;()]+")
_HEAD = re.compile(r"""[\[\s]*\{\s*["'](\w*)(?:["']\s*:\s*(?:["']([^"'\\]*)(["'])?)?)?""")
_HEAD_BEGUN = re.compile(r"[\[\s]*(?:\{\s*)?")
_CALL_KEYS = frozenset({"name", "arguments", "parameters", "input", "args", "type", "function", "id"})
_ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")
_LANGUAGE = re.compile(r"[\w-]*[ \t\r]*")
END_TOKENS = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>")


class Written(Struct, frozen=True):
    """A call that was written as text: the client's name of the tool, and a JSON object."""

    name: str
    arguments: str


def read(cursor: Cursor, tools: Tools) -> list[Written]:
    """The calls that begin here; the cursor then stands behind them. Raises `Mismatch` or `More`."""
    if cursor.sees(FENCE):
        return _fenced(cursor, tools)
    if cursor.text[cursor.at] in "{[" and not cursor.sees(MISTRAL):
        return _alone(_json_calls(cursor, tools, strict=True), cursor)
    calls = _marked(cursor, tools)
    _line_ends(cursor)
    return calls


def begins(text: str, at: int) -> bool:
    """Whether the text from here on is the beginning of an opener."""
    part = text[at : at + max(map(len, OPENERS))]
    return any(opener.startswith(part) for opener in OPENERS)


def is_unmarked(text: str) -> bool:
    """Whether what begins here has no marks of its own: JSON, in a code fence or bare."""
    return text[0] in "`{[" and not text.startswith(MISTRAL)


def opener_of(text: str) -> str:
    """The opener with which the text begins."""
    return next((opener for opener in (FENCE, *OPENERS) if text.startswith(opener)), text[:1])


def _marked(cursor: Cursor, tools: Tools) -> list[Written]:
    for name in WRAPPERS:
        if cursor.take(f"<{name}>"):
            return _wrapped(cursor, tools, name)
    for name in INVOKERS:
        if cursor.take(f"<{name}>"):
            return _invokes(cursor, tools, DSML if name.startswith(DSML) else "", f"</{name}>")
    if cursor.sees("<function="):
        return [_function(cursor, tools)]
    for mark in ("", DSML):
        if cursor.sees(f"<{mark}invoke name="):
            return _invokes(cursor, tools, mark, "")
    if cursor.sees("<|tool_call"):
        return _kimi(cursor, tools)
    if cursor.take(PYTHON):
        return _python_tag(cursor, tools)
    if cursor.take(MISTRAL):
        return _mistral(cursor, tools)
    return _deepseek(cursor, tools)


def _line_ends(cursor: Cursor) -> None:
    """A call stands alone: prose that goes on in the same line makes it a quotation."""
    while cursor.at < len(cursor.text) and cursor.text[cursor.at] in " \t\r":
        cursor.at += 1
    if not cursor.ended and cursor.text[cursor.at] not in "\n<[":
        raise Mismatch


def _alone(calls: list[Written], cursor: Cursor) -> list[Written]:
    """JSON without marks is a call only if nothing but calls follows it."""
    cursor.space()
    if not cursor.ended and cursor.text[cursor.at] not in "`{[":
        raise Mismatch
    return calls


# --- tags -----------------------------------------------------------------------------------------------------------


def _wrapped(cursor: Cursor, tools: Tools, tag: str) -> list[Written]:
    """JSON, a `function=` tag, or GLM's name with keys and values."""
    cursor.space()
    close = f"</{tag}>"
    if cursor.sees("<function="):
        calls = [_function(cursor, tools)]
    elif cursor.at < len(cursor.text) and cursor.text[cursor.at] in "{[":
        calls = _json_in_tag(cursor, tools, close)
    else:
        return [_glm(cursor, tools, close)]
    if not cursor.close(close) and not cursor.text[cursor.at :].lstrip().startswith("<"):
        raise Mismatch  # models forget the end mark, but only before another call
    return calls


def _json_in_tag(cursor: Cursor, tools: Tools, close: str) -> list[Written]:
    """JSON by its brackets, or up to the closing tag where its quotes do not add up."""
    start = cursor.at
    try:
        calls = _json_calls(cursor, tools)
        end = cursor.at
        cursor.space()
        if cursor.ended or cursor.text[cursor.at] == "<":
            cursor.at = end
            return calls
    except Mismatch:
        cursor.at = start
        _head(cursor, tools)
    cursor.at = start
    text = cursor.until(close)
    cursor.at -= len(close)
    return _calls_of(text, tools)


def _function(cursor: Cursor, tools: Tools) -> Written:
    cursor.expect("<function=")
    name = _tool(cursor, tools)
    cursor.expect(">")
    cursor.space()
    if cursor.sees("{"):
        arguments = cursor.json()
        cursor.space()
        cursor.expect("</function>")
        return Written(name, _object(arguments))
    values: dict[str, str] = {}
    while not cursor.take("</function>"):
        cursor.expect("<parameter=")
        key = cursor.until(">").strip()
        values[key] = _value(cursor, "</parameter>", ("<parameter=", "</function>"))
    return _typed(name, values, tools)


def _invokes(cursor: Cursor, tools: Tools, mark: str, close: str) -> list[Written]:
    calls: list[Written] = []
    while not calls or (close and not cursor.close(close)):
        if close:
            cursor.space()
        calls.append(_invoke(cursor, tools, mark))
    return calls


def _invoke(cursor: Cursor, tools: Tools, mark: str) -> Written:
    cursor.expect(f"<{mark}invoke name=")
    quote = cursor.expect('"', "'")
    name = _tool(cursor, tools)
    cursor.expect(f"{quote}>")
    cursor.space()
    end, values = f"</{mark}invoke>", {}
    while not cursor.take(end):
        cursor.expect(f"<{mark}parameter name=")
        quote = cursor.expect('"', "'")
        key = cursor.until(quote)
        cursor.until(">")
        values[key] = _value(cursor, f"</{mark}parameter>", (f"<{mark}parameter name=", end))
    return _typed(name, values, tools)


def _value(cursor: Cursor, close: str, following: tuple[str, ...]) -> str:
    """A parameter's text; templates that begin it on a line of its own end it so. A closer that nothing fits behind
    is a part of it.
    """
    parts: list[str] = []
    while True:
        parts.append(cursor.until(close))
        cursor.space()
        if any(cursor.sees(literal) for literal in following):
            text = close.join(parts)
            return text[1:].removesuffix("\n") if text.startswith("\n") else text
        cursor.at = cursor.text.rindex(close, 0, cursor.at) + len(close)


def _glm(cursor: Cursor, tools: Tools, close: str) -> Written:
    name = _tool(cursor, tools)
    values: dict[str, str] = {}
    cursor.space()
    while not cursor.take(close):
        cursor.expect("<arg_key>")
        key = cursor.until("</arg_key>").strip()
        cursor.space()
        cursor.expect("<arg_value>")
        values[key] = _value(cursor, "</arg_value>", ("<arg_key>", close))
    return _typed(name, values, tools)


# --- special tokens -------------------------------------------------------------------------------------------------


def _kimi(cursor: Cursor, tools: Tools) -> list[Written]:
    section = cursor.take(KIMI % "s_section_begin")
    calls: list[Written] = []
    while not calls or (section and not cursor.close(KIMI % "s_section_end")):
        cursor.space()
        cursor.expect(KIMI % "_begin")
        cursor.space()
        cursor.take("functions.")
        name = _tool(cursor, tools)
        cursor.until(KIMI % "_argument_begin")
        calls.append(Written(name, _object(cursor.until(KIMI % "_end"))))
    return calls


def _deepseek(cursor: Cursor, tools: Tools) -> list[Written]:
    section = cursor.take(DEEPSEEK % "calls\u2581begin")
    calls: list[Written] = []
    while not calls or (section and not cursor.close(DEEPSEEK % "calls\u2581end")):
        cursor.space()
        cursor.expect(DEEPSEEK % "call\u2581begin")
        if cursor.take("function" + DEEPSEEK % "sep"):
            name = _tool(cursor, tools)
            cursor.space()
            cursor.expect("```json\n")
            arguments = cursor.until(DEEPSEEK % "call\u2581end").rstrip().removesuffix("```")
        else:
            name = _tool(cursor, tools)
            cursor.expect(DEEPSEEK % "sep")
            arguments = cursor.until(DEEPSEEK % "call\u2581end")
        calls.append(Written(name, _object(arguments)))
    return calls


def _python_tag(cursor: Cursor, tools: Tools) -> list[Written]:
    calls: list[Written] = []
    while True:
        cursor.space()
        calls += _json_calls(cursor, tools)
        if cursor.close(*END_TOKENS):
            return calls
        start = cursor.at
        cursor.space()
        if not cursor.take(";"):
            cursor.at = start
            return calls


def _mistral(cursor: Cursor, tools: Tools) -> list[Written]:
    """A list of calls, or in newer templates a name before its arguments."""
    cursor.space()
    if cursor.sees("[") or cursor.sees("{"):
        return _json_calls(cursor, tools)
    name = _tool(cursor, tools)
    if cursor.take("[CALL_ID]"):
        cursor.match(_NAME)
    cursor.take("[ARGS]")
    cursor.space()
    return [Written(name, _object(cursor.json()))]


# --- JSON -----------------------------------------------------------------------------------------------------------


def _fenced(cursor: Cursor, tools: Tools) -> list[Written]:
    cursor.expect(FENCE)
    if not _LANGUAGE.fullmatch(cursor.until("\n")):
        raise Mismatch
    cursor.space()
    calls = _json_calls(cursor, tools, strict=True)
    cursor.space()
    cursor.expect(FENCE)
    return _alone(calls, cursor)


def _json_calls(cursor: Cursor, tools: Tools, *, strict: bool = False) -> list[Written]:
    if cursor.at == len(cursor.text):
        raise cursor.wait()
    _head(cursor, tools)
    return _calls_of(cursor.json(), tools, strict=strict)


def _head(cursor: Cursor, tools: Tools) -> None:
    """Give up on other JSON as soon as its first key or its name shows what it is."""
    head = _HEAD.match(cursor.text, cursor.at)
    if head is None:
        raise cursor.wait() if _HEAD_BEGUN.fullmatch(cursor.text, cursor.at) else Mismatch
    key, name, quote = head.groups()
    closed = head.end() < len(cursor.text) or name is not None
    if key not in _CALL_KEYS and (closed or not any(known.startswith(key) for known in _CALL_KEYS)):
        raise Mismatch
    if key == "name" and name is not None and not (tools.name(name) if quote else tools.any_begins(name)):
        raise Mismatch


def _calls_of(text: str, tools: Tools, *, strict: bool = False) -> list[Written]:
    try:
        raw = mend_surrogates(text.encode("utf-8", "replace"))
        items = json.decode(raw, type=list[Raw]) if raw.lstrip().startswith(b"[") else [json.decode(raw, type=Raw)]
    except UNREADABLE:
        try:
            value = mend(text)
        except Malformed as error:
            raise Mismatch from error
        items = [Raw(json.encode(item)) for item in (value if isinstance(value, list) else [value])]
    if not items:
        raise Mismatch
    return [_call_of(item, tools, strict=strict) for item in items]


def _call_of(raw: Raw, tools: Tools, *, strict: bool) -> Written:
    """`{"name": …, "arguments": {…}}`, also inside `function`."""
    try:
        fields = json.decode(raw, type=dict[str, Raw])
        if "function" in fields and "name" not in fields:
            fields = json.decode(fields["function"], type=dict[str, Raw])
        name = json.decode(fields["name"], type=str)
    except (*UNREADABLE, KeyError) as error:
        raise Mismatch from error
    given = [fields[key] for key in _ARGUMENT_KEYS if key in fields]
    advertised = tools.name(name)
    if advertised is None or len(given) > 1 or (strict and (not given or fields.keys() - _CALL_KEYS)):
        raise Mismatch
    return Written(advertised, _object(bytes(given[0]).decode()) if given else "{}")


def _object(text: str) -> str:
    """Arguments as the text of an object, which may stand in a string or need mending. Raises `Mismatch`."""
    raw = mend_surrogates(text.strip().encode("utf-8", "replace")) or b"{}"
    try:
        if raw.startswith(b'"'):
            raw = mend_surrogates(json.decode(raw, type=str).encode("utf-8", "replace")) or b"{}"
        json.decode(raw, type=dict[str, Raw])
        return raw.decode()
    except UNREADABLE:
        pass
    try:
        value = mend(raw.decode())
    except Malformed as error:
        raise Mismatch from error
    if not isinstance(value, dict):
        raise Mismatch
    return json.encode(value).decode()


# --- names and values -----------------------------------------------------------------------------------------------


def _tool(cursor: Cursor, tools: Tools) -> str:
    start = cursor.at
    try:
        name = tools.name(cursor.match(_NAME))
    except More:
        if tools.any_begins(cursor.text[start:]):
            raise
        raise Mismatch from None
    if name is None:
        raise Mismatch
    return name


def _typed(name: str, values: dict[str, str], tools: Tools) -> Written:
    """Text that became arguments: of another type only where the schema has one."""
    known = tools.parameters(name)
    return Written(name, json.encode({key: known.coerced(key, text) for key, text in values.items()}).decode())
