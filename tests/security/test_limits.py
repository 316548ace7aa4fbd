"""Requests, answers and files made to be too deep, too large or of the wrong kind: each is told, none hurts."""

import asyncio
import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from latimer.documents import UnreadableDocument, pdf_pages
from latimer.errors import ConfigError
from latimer.policy.config import parse
from latimer.shell.http import serving as http_serving
from tests.scenarios.replies import Wire
from tests.shell.harness import DONE, Gateway, Response, event, message, serving

Json = dict[str, Any]
RULES = {
    "chat": "",
    "chat, schemas inlined": 'tools = { schema = "inlined" }',
    "responses": 'dialect = "responses"',
    "messages": 'dialect = "messages"',
    "messages, all taken": 'dialect = "messages"\nnative = { passthrough = false, new_members = true, blocks = ["*"] }',
}
MARK = "@@DEEP@@"
DEPTHS = (300, 900, 10_000, 100_000)
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "enum": ["x"]}, "b": {"$ref": "#/$defs/c"}},
    "required": ["a"],
    "$defs": {"c": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
}
RICH = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "stream": False,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "metadata": {"user_id": "u"},
    "tool_choice": {"type": "auto"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    "tools": [
        {"name": "t", "description": "d", "input_schema": SCHEMA},
        {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.test"]},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "url", "url": "https://a.test/x.png"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "x", "signature": "abc"},
                {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"a": "x"}},
                {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result"}]},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "x"}]},
                {"type": "of_2028", "a": 1},
            ],
        },
    ],
}


def told(response: Response) -> None:
    """An answer, or an error that says what is wrong; never one of Latimer's own."""
    assert response.status in (200, 400, 404, 413, 500), response.body
    if response.status != 200:
        assert "unexpected error in Latimer" not in response.error["message"]
    if response.status == 500:  # the scripted upstream speaks Chat Completions only
        assert "/chat/completions" in response.error["message"], response.body


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
async def test_no_part_of_a_request_may_be_of_the_wrong_kind(rules: str) -> None:
    async with serving(rules=rules, retry="tries = 1") as (client, _):
        for path in _paths(RICH):
            for wrong in ([], "x", [[]], {"type": 1}, float("inf"), MARK):
                await _post(client, _changed(RICH, path, wrong), depth=900)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
async def test_no_part_of_a_request_may_be_too_deep(rules: str) -> None:
    async with serving(rules=rules, retry="tries = 1") as (client, _):
        for path in _paths(RICH):
            if isinstance(_at(RICH, path), dict | list):
                await _post(client, _changed(RICH, path, MARK), depth=2_000)


async def _post(client: Gateway, body: Json, depth: int) -> None:
    raw = json.dumps(body).replace("Infinity", "1e400").replace(f'"{MARK}"', "[" * depth + "]" * depth)
    told(await client.post("/v1/messages", raw.encode()))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("closed", [True, False])
async def test_bodies_that_are_nothing_but_deep(depth: int, closed: bool) -> None:
    async with serving() as (client, script):
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            response = await client.post(path, b"[" * depth + b"]" * depth * closed)
            assert response.status == 400
            assert response.error["type"] == "invalid_request_error"
        assert not script.exchanges


@pytest.mark.parametrize("depth", DEPTHS[:3])
@pytest.mark.parametrize(
    ("before", "after"),
    [('{"type":"object","properties":{"a":', "}}"), ('{"anyOf":[', "]}"), ('{"type":"array","items":', "}")],
)
async def test_deep_schemas_of_tools(depth: int, before: str, after: str) -> None:
    schema = before * depth + '{"type":"string"}' + after * depth
    tools = [{"name": "t", "description": "d", "input_schema": MARK}]
    raw = json.dumps(message(tools=tools, stream=False)).replace(f'"{MARK}"', schema)
    for rules in ("", 'tools = { schema = "gemini" }', 'tools = { schema = "inlined" }'):
        async with serving(rules=rules) as (client, script):
            response = await client.post("/v1/messages", raw.encode())
            assert response.status in (200, 400), response.body
            if response.status == 400:
                assert "deep" in response.error["message"] or "recursion" in response.error["message"]
            assert bool(script.exchanges) == (response.status == 200)


async def test_schemas_whose_references_double_at_each_step() -> None:
    """Written out, this one has 2^40 parts."""
    definitions: Json = {
        f"d{n}": {"type": "object", "properties": {c: {"$ref": f"#/$defs/d{n + 1}"} for c in "ab"}} for n in range(40)
    }
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {**definitions, "d40": {}}}
    for rules in ('tools = { schema = "inlined" }', 'tools = { schema = "gemini" }'):
        async with serving(rules=rules) as (client, _):
            told(await client.ask(tools=[{"name": "t", "input_schema": schema}], stream=False))


def test_a_deep_configuration() -> None:
    with pytest.raises(ConfigError, match=r"deep.toml: this is nested too deeply"):
        parse("a = " + "[" * 5_000 + "]" * 5_000, "deep.toml")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _paths(item, (*path, key))


def _at(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


def _changed(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _changed(value[path[0]], path[1:], new)
    return copy


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time does not make more time for all of them."""
    monkeypatch.setattr(http_serving, "IDLE_SECONDS", 0.5)
    async with serving() as (client, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
        closed = asyncio.create_task(reader.read())
        for byte in b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"x: y\r\n" * 500:
            writer.write(bytes([byte]))
            await asyncio.wait([closed], timeout=0.02)
            if closed.done():
                break
        assert await asyncio.wait_for(closed, 5) == b""
        writer.close()


async def test_very_many_headers() -> None:
    lines = b"".join(b"h%d: x\r\n" % number for number in range(20_000))
    async with serving() as (client, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + lines + b"\r\n")
        head = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
    assert b" 431 " in head


# --- answers ---------------------------------------------------------------------------------------------------------

TOOLS = [{"name": "t", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}]


def _calls(arguments: str) -> list[bytes]:
    function = {"name": "t", "arguments": arguments}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return [event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}), _finish("tool_calls"), DONE]


def _says(text: str) -> list[bytes]:
    return [event({"choices": [{"index": 0, "delta": {"content": text}}]}), _finish("stop"), DONE]


def _finish(reason: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


@pytest.mark.parametrize("depth", DEPTHS)
async def test_deep_answers(depth: int) -> None:
    deep = "[" * depth
    answers = [
        _calls('{"a":' + deep + "]" * depth + "}"),
        _calls('{"a":' + deep),
        _calls('{"a":' * depth),
        _calls("{'a':" * depth + "1" + "}" * depth),
        _says('<tool_call>{"name":"t","arguments":' + '{"a":' * depth),
        _says('<tool_call>{"name":"t","arguments":' + '{"a":' * depth + "1" + "}" * depth + "}</tool_call>"),
        [b"data: " + deep.encode() + b"\n\n", DONE],
        [b'data: {"choices":[{"index":0,"delta":{"content":"x","z":%b%b}}]}\n\n' % (deep.encode(), b"]" * depth), DONE],
        [deep.encode()],
        [b'{"error":' + deep.encode() + b"]" * depth + b"}"],
    ]
    async with serving(*(Wire(tuple(each)) for each in answers), retry="tries = 1") as (client, script):
        for number in range(len(answers)):
            response = await client.ask(tools=TOOLS)
            assert len(script.exchanges) == number + 1
            assert b"unexpected error in Latimer" not in response.body
            if response.status == 200:
                assert response.events[-1][0] in ("message_stop", "error")
            else:
                assert response.error["message"]


async def test_a_deep_refusal_is_told() -> None:
    body = b'{"error":{"message":"no","detail":' + b"[" * 5_000 + b"]" * 5_000 + b"}}"
    async with serving(Wire((body,), status=400), retry="tries = 1") as (client, _):
        response = await client.ask()
        assert response.status == 400
        assert "unexpected" not in response.error["message"]


# --- documents -------------------------------------------------------------------------------------------------------


def _pdf(*objects: bytes) -> str:
    out, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return base64.b64encode(out + b"xref\n0 %d\n0000000000 65535 f \n%b%b" % (len(objects) + 1, table, end)).decode()


def _bomb(filters: int) -> str:
    """A page of 400 MB of blanks in some hundred kilobytes, or, packed several times, in a few bytes."""
    packer = zlib.compressobj(9, wbits=-15)
    megabyte = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    data = b"\x78\xda" + megabyte * 400 + packer.flush()
    for _ in range(filters - 1):
        data = zlib.compress(data, 9)
    stream = b"<</Length %d/Filter [%b]>>stream\n%b\nendstream" % (len(data), b"/FlateDecode " * filters, data)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>"
    return _pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, stream)


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
BOMBS = {
    "packed once": lambda: _bomb(1),
    "packed three times": lambda: _bomb(3),
    "pages in a circle": lambda: _pdf(CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"),
    "very many pages": lambda: _pdf(CATALOG, b"<</Type/Pages/Kids[" + b"3 0 R " * 200_000 + b"]>>", b"<</Type/Page>>"),
    "deep": lambda: _pdf(b"<</Type/Catalog/Pages 2 0 R/X " + b"[" * 50_000 + b"]" * 50_000 + b">>", b"<</Kids[]>>"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_documents_that_explode(name: str) -> None:
    import resource  # noqa: PLC0415  # not on Windows

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableDocument):
        pdf_pages(BOMBS[name]())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes
