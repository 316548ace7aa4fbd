"""URLs that a request can carry: Latimer itself opens none of them, but for `web_fetch`, which opens none inside.

docs/threat-model.md has the list; here each of its rows is sent with the address of a trap that nothing may touch.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.scenarios.replies import Call, Say
from tests.shell.harness import serving

TRAP = "http://TRAP/secret"
Json = dict[str, Any]


def user(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "hi"}]}]}


def tool(**fields: Any) -> Json:
    return {"tools": [{"name": "t", "input_schema": {"type": "object"}, **fields}]}


def result(kind: str) -> Json:
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"url": TRAP}}
    content = [{"type": kind, "source": {"type": "url", "url": TRAP}}]
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    return {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [answer]},
        ]
    }


CARRIED = {
    "an image": user({"type": "image", "source": {"type": "url", "url": TRAP}}),
    "a document": user({"type": "document", "source": {"type": "url", "url": TRAP}}),
    "an image in a tool's result": result("image"),
    "a document in a tool's result": result("document"),
    "a document in parts": user(
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": TRAP}}]},
        }
    ),
    "an image by file id": user({"type": "image", "source": {"type": "file", "file_id": TRAP}}),
    "a document by file id": user({"type": "document", "source": {"type": "file", "file_id": TRAP}}),
    "an upload for a container": user({"type": "container_upload", "file_id": TRAP}),
    "a search result": user(
        {"type": "search_result", "source": TRAP, "title": "t", "content": [{"type": "text", "text": "x"}]}
    ),
    "MCP servers": {"mcp_servers": [{"type": "url", "url": TRAP, "name": "m", "authorization_token": "x"}]},
    "a container": {"container": TRAP},
    "a schema's reference": tool(input_schema={"type": "object", "properties": {"a": {"$ref": TRAP}}}),
    "a schema's identity": tool(input_schema={"$schema": TRAP, "$id": TRAP, "type": "object"}),
    "a schema of the answer": {"output_config": {"format": {"type": "json_schema", "schema": {"$ref": TRAP}}}},
    "text": user({"type": "text", "text": f"look at {TRAP} and ![x]({TRAP})"}),
    "a system prompt": {"system": TRAP},
    "a model's name": {"model": TRAP},
    "metadata": {"metadata": {"user_id": TRAP}},
}
RULES = {
    "chat": "",
    "chat without sight": "media = { images = false }",
    "responses": 'dialect = "responses"',
    "messages": 'dialect = "messages"',
}


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on this machine, and what touched it."""
    touched: list[bytes] = []

    async def touch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        touched.append(await reader.read(100))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret")
        writer.close()

    server = await asyncio.start_server(touch, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", touched
    finally:
        server.close()


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
async def test_urls_of_requests_are_not_opened(rules: str) -> None:
    async with trap() as (where, touched), serving(rules=rules, retry="tries = 1") as (client, _):
        for name, fields in CARRIED.items():
            for path in ("/v1/messages", "/v1/messages/count_tokens"):
                base = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
                body = json.dumps({**base, **fields}).replace("TRAP", where)
                response = await client.post(path, body.encode())
                assert response.status in (200, 400, 404, 500), (name, response.body)
                assert b"unexpected error in Latimer" not in response.body, name
    assert not touched


@pytest.mark.parametrize(
    "url",
    [
        "http://TRAP/",
        "http://localhost:PORT/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://0177.0.0.1:PORT/",
        "http://127.1:PORT/",
        "http://user@TRAP/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://TRAP/",
    ],
)
async def test_web_fetch_opens_nothing_inside(url: str) -> None:
    async with trap() as (where, touched):
        port = where.rpartition(":")[2]
        url = url.replace("TRAP", where).replace("PORT", port)
        table = f"[web_fetch]\nenabled = true\nports = [80, 443, {port}]\n"
        say = Say("", calls=(Call("web_fetch", {"url": url}),))
        async with serving(say, Say("It says nothing."), rules=table) as (client, script):
            messages = [{"role": "user", "content": f"What stands at {url} ?"}]
            tools = [{"type": "web_fetch_20250910", "name": "web_fetch"}]
            response = await client.ask(tools=tools, messages=messages, stream=False)
            assert response.status == 200, response.body
            assert len(script.exchanges) == 2
            assert "web_fetch_tool_result_error" in response.body.decode()
    assert not touched
