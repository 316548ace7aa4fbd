"""The official `anthropic` SDK, whichever release is imported, talking to Latimer on a scripted upstream.

Release 2 and later speak API version 2026-10-21, earlier ones 2023-06-01; `test_older_sdk` runs the same tests with an
earlier one.
"""

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anthropic
from anthropic.types import Message

from tests.interop.claude import TOKEN
from tests.latimer_process import Latimer
from tests.upstream import Upstream

RECENT = int(anthropic.__version__.split(".", maxsplit=1)[0]) >= 2
API_VERSION = "2026-10-21" if RECENT else "2023-06-01"
MODEL = "claude-sonnet-5-5"

WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: dict[str, Any] = {"name": "clock", "description": "The time", "input_schema": {"type": "object"}}


@dataclass(frozen=True)
class Sdk:
    """One bench: the client, the gateway, the upstream."""

    client: anthropic.Anthropic
    gateway: Latimer
    upstream: Upstream

    def ask(self, streaming: bool = False, content: Any = "hi", **fields: Any) -> Message:
        """One message, streamed or whole."""
        request = {"model": MODEL, "max_tokens": 500, "messages": [user(content)], **fields}
        if streaming:
            with self.client.messages.stream(**request) as stream:
                return stream.get_final_message()
        reply: Message = self.client.messages.create(**request)
        return reply

    def post(self, body: Any, path: str = "/v1/messages", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One bare request."""
        return post(self.gateway.url, body, path, **headers)

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The bare events of a streamed reply, pings included."""
        body = {"model": MODEL, "max_tokens": 500, "messages": [user("hi")], "stream": True, **fields}
        status, headers, raw = self.post(body)
        assert status == 200, raw
        assert headers["content-type"].startswith("text/event-stream")
        return list(parse_events(raw.decode()))


def post(url: str, body: Any, path: str = "/v1/messages", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One bare request: status, headers and body of the answer as they came."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", url, path, raw, {"content-type": "application/json", "x-api-key": TOKEN, **headers})


def request(
    method: str, url: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Any request, without a client library's ideas about it."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def parse_events(text: str) -> Iterator[dict[str, Any]]:
    """Anthropic's framing, strictly: a name and one line of data that repeats it."""
    for block in filter(None, text.split("\n\n")):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        yield event


def user(content: Any) -> dict[str, Any]:
    """A user turn."""
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    """An assistant turn."""
    return {"role": "assistant", "content": content}


def use(identity: str, name: str = "weather", **arguments: Any) -> dict[str, Any]:
    """A tool call in history."""
    return {"type": "tool_use", "id": identity, "name": name, "input": arguments}


def result(identity: str, content: Any = None, **fields: Any) -> dict[str, Any]:
    """A tool result in history."""
    block = {"type": "tool_result", "tool_use_id": identity, **fields}
    return block if content is None else {**block, "content": content}
